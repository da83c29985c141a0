/** Nobody who asks at published ports notices what happens behind them: real containers on two nodes, and a client that
 * reads the endpoints anew all the time. */
import { inOwnNetwork } from "../agent/support/own-network.ts";
import { aSteadyClient, type SteadyClient } from "../support/steady-client.ts";
import { assert, suite } from "../support/suite.ts";
import { twoNodes, type TwoNodes, until } from "../support/two-nodes.ts";

/** Four times what a client needs that reads every two seconds, as the machine may be busy. */
const NOTICE_MS = 8000;
const wish = {
  cartridge: "hello",
  processes: 2,
  // Told to stop it is gone, and whoever comes then is refused.
  stopGrace: "10ms",
  rollout: { maxSurge: "100%", progressDeadline: "10m" },
  drain: { notice: NOTICE_MS / 1000, max: "60s" },
};

inOwnNetwork(import.meta.url, () =>
  suite("a client of published ports", (test) => {
    test(
      "loses no request, whatever goes in an orderly way and whichever of us is killed",
      async () => {
        await using scene = await twoNodes({});
        const { put, must, become, shown } = scene;
        await put(wish);
        await become(2, 1);
        let asksElsewhere = false;
        await using client = aClient(scene, () => asksElsewhere);
        const watch = async (what: string, happens: () => Promise<void>): Promise<void> => {
          const before = client.answered();
          await happens();
          await answersMore(client, 100);
          const answered = client.answered() - before;
          console.log(`${what}: ${answered} answered, ${client.failures.length} failed`);
          assert.equal(client.failures, []);
        };

        await watch("a roll-out", async () => {
          await put({ ...wish, env: { COLOUR: "red" } });
          await become(2, 2);
        });
        await watch("scaling up and down", async () => {
          await must("POST", "/v1/subscriptions/web/scale", { processes: 4 });
          await become(4, 2);
          await must("POST", "/v1/subscriptions/web/scale", { processes: 2 });
          await become(2, 2);
        });
        await watch("a restart, with kill -9 of an agent and of the controller", async () => {
          await must("POST", "/v1/subscriptions/web/restart", {});
          await until("one drains", async () =>
            (await shown()).some(({ state }) => state === "draining"),
          );
          scene.killAgent((await shown())[0]?.node ?? "");
          await scene.restartController();
          await become(2, 3);
        });
        await watch("a drain of a node", async () => {
          const [from = ""] = (await shown()).map(({ node }) => node ?? "");
          await must("POST", `/v1/nodes/${from}/drain`, {});
          await until("it is empty", async () =>
            (await shown()).every(({ node }) => node !== from),
          );
          await become(2, 3);
        });
        assert.is(client.refused(), 0);

        const [victim] = await shown();
        const url = victim?.endpoints[0]?.url ?? "";
        asksElsewhere = true;
        const inFlight = client.inFlight(url);
        process.kill(victim?.pid ?? 0, "SIGKILL");
        await until("it was started again", async () =>
          (await shown()).some((one) => one.id === victim?.id && one.restarts > 0 && one.ready),
        );
        await answersMore(client, 100);
        const lost = client.failures.length;
        console.log(
          `kill -9 of a process: ${lost} failed, ${inFlight} were in flight on it; ` +
            `${client.refused()} found it closed and asked another one`,
        );
        assert.ok(lost <= inFlight, client.failures.join("\n"));
      },
      { timeoutMs: 890_000 },
    );
  }),
);

function aClient({ shown }: TwoNodes, asksElsewhere: () => boolean): SteadyClient {
  return aSteadyClient({
    read: async () =>
      (await shown())
        .filter(({ ready, state }) => ready && state === "running")
        .flatMap(({ endpoints }) => endpoints.map(({ url }) => url)),
    isRight: (page) => page.startsWith("Hello from web-"),
    rereadMs: NOTICE_MS / 4,
    patienceMs: NOTICE_MS / 4,
    everyMs: 20,
    asksElsewhere,
  });
}

async function answersMore(client: SteadyClient, count: number): Promise<void> {
  const before = client.answered();
  await until(`${count} more answers`, () => client.answered() >= before + count);
}
