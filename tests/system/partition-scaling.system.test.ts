/** Level 2 end to end: the controller rents machines of a real lxd, agents boot in them and join, cartridges run, and
 * machines that are not needed go. */
import { PartitionDecision, VmResource } from "@strata/protocol/api/providers";
import { listOf, Node } from "@strata/protocol/api/resources";

import { waitFor } from "../../scripts/instance/wait.ts";
import { anLxd, IMAGE_ALIAS, type Lxd } from "../support/machines/lxd.ts";
import {
  aRunningInstance,
  killDaemon,
  mustBecome,
  pageOf,
  type RunningInstance,
  urlOf,
} from "../support/running-instance.ts";
import { assert, suite } from "../support/suite.ts";

/** Of one step: three machines boot at once on a busy host. */
const STEP_MS = 240_000;
const PARTITION = "rented";
/** Each of one process, so that the test says which of them goes. */
const aliases = ["one", "two", "three", "four", "five", "six"] as const;

const policy = {
  minNodes: 0,
  maxNodes: 4,
  // The first one always fails, so that every machine is had by the second.
  providers: [
    { provider: "broken", flavor: "small" },
    { provider: "lxd", flavor: "small" },
  ],
  backOff: { first: "1h", max: "1h" },
  sweepInterval: "10s",
  packing: { maxPerNode: 2 },
  remove: { emptyAfter: "5s", belowAfter: "5s", afterAdd: "0s", percentAtOnce: 100 },
};

suite("a partition on rented machines", (test) => {
  test(
    "grows from nothing in one step, shrinks, thinks better of a drain, and mends what is killed",
    async () => {
      await using lxd = await anLxd();
      await using strata = await aRunningInstance();
      await setUp(strata, lxd);

      // From nothing, three at once, by the second provider, and over a crash of the controller.
      for (const alias of aliases) await scale(strata, alias, 1);
      await become("a VM is written down", async () => (await vms(strata)).length > 0);
      await killDaemon(strata.instance, "controller");
      await serves(strata, aliases);
      assert.is((await lxd.instances()).length, 3);
      const added = (await decisions(strata)).filter(({ actions }) =>
        actions.some(({ kind }) => kind === "add"),
      );
      assert.is(added.at(-1)?.actions[0]?.["count"], 3, JSON.stringify(added));
      const types = new Set((await strata.events()).map(({ type }) => type));
      for (const type of ["provider.failed", "vm.requested", "vm.booting", "vm.joined"])
        assert.ok(types.has(type), type);

      // The load falls: a machine that is empty goes.
      const [first = [], second = [], third = []] = await aliasesByNode(strata);
      for (const alias of third) await scale(strata, alias, 0);
      await become("the empty machine is gone", async () => (await lxd.instances()).length === 2);

      // Two nodes half full: one is drained. When load returns, it is used again.
      const [stays = "", returns = ""] = first;
      const [moves = "", ends = ""] = second;
      const before = (await lxd.instances()).toSorted();
      for (const alias of [returns, ends]) await scale(strata, alias, 0);
      await become("a node is drained", async () =>
        (await nodes(strata)).some(({ state }) => state === "draining"),
      );
      await scale(strata, returns, 1);
      await serves(strata, [stays, moves, returns]);
      assert.equal((await lxd.instances()).toSorted(), before);
      assert.ok((await decisions(strata)).some(({ reason }) => /^use \S+ again/.test(reason)));

      // Left alone, the drain ends: one machine is enough for two processes, which serve all the time.
      await scale(strata, returns, 0);
      await become("one machine is left", async () => (await lxd.instances()).length === 1);
      await serves(strata, [stays, moves]);

      // A machine is deleted behind the controller's back.
      const [victim = ""] = await lxd.instances();
      await lxd.kill(victim);
      await lxd.client.change({ method: "DELETE", path: `/instances/${victim}` }, never);
      await become("it is forgotten", async () =>
        (await vms(strata)).every(({ id }) => id !== victim),
      );
      await serves(strata, [stays, moves]);
      assert.is((await lxd.instances()).length, 1);

      // Nothing is wished: nothing is left.
      for (const alias of aliases) await scale(strata, alias, 0);
      await become("no machine is left", async () => (await lxd.instances()).length === 0);
      await become("nothing is remembered but what the broken provider cannot tell", async () => {
        const known = (await vms(strata)).filter(({ provider }) => provider === "lxd");
        return known.length + (await nodes(strata)).length === 0;
      });
      for (const { id } of await vms(strata))
        await strata.mustCall("DELETE", `/v1/vms/${id}?forget=true`);
      assert.equal(await vms(strata), []);
    },
    { timeoutMs: 580_000 },
  );
});

const never = new AbortController().signal;

async function setUp({ mustCall }: RunningInstance, lxd: Lxd): Promise<void> {
  const small = { cpu: 1, memory: "512Mi", disk: "1Gi", image: IMAGE_ALIAS };
  await mustCall("PUT", "/v1/providers/lxd", { settings: lxd.settings, flavors: { small } });
  const broken = { kind: "exec", command: ["/bin/false"] };
  await mustCall("PUT", "/v1/providers/broken", { settings: broken, flavors: { small } });
  await mustCall("PUT", "/v1/partition-policies/elastic", policy);
  await mustCall("PUT", `/v1/partitions/${PARTITION}`, { policy: "elastic" });
  for (const alias of aliases) {
    await mustCall("PUT", `/v1/subscriptions/${alias}`, {
      cartridge: "hello",
      partition: PARTITION,
      processes: 0,
      lostAfter: "20s",
      // Two of them are far below half of a machine.
      resources: { memory: "64Mi", cpu: 0.1, pids: 64 },
      // It ends at the end of its grace alone, so that a drain can be seen.
      command: ["/bin/sh", "-c", "trap '' TERM; exec /bin/hello"],
      stopGrace: "15s",
    });
  }
}

async function scale(
  { mustCall }: RunningInstance,
  alias: string,
  processes: number,
): Promise<void> {
  await mustCall("POST", `/v1/subscriptions/${alias}/scale`, { processes });
}

/** Each has one process, which is ready and answers. */
async function serves(strata: RunningInstance, served: readonly string[]): Promise<void> {
  for (const alias of served) {
    const ready = await mustBecomeSlowly(`${alias} is ready`, async () => {
      const [process, ...others] = await strata.processes(alias);
      const isReady = process?.ready === true && process.state === "running";
      return isReady && others.length === 0 ? process : undefined;
    });
    const page = await mustBecome(`${alias} answers`, () => pageOf(urlOf(ready)));
    assert.match(page, ready.id);
  }
}

/** The subscriptions that have a process there, for each node. */
async function aliasesByNode(strata: RunningInstance): Promise<readonly (readonly string[])[]> {
  const all = (await Promise.all(aliases.map((alias) => strata.processes(alias)))).flat();
  return [...Map.groupBy(all, ({ node }) => node).values()].map((here) =>
    here.map(({ subscription }) => subscription),
  );
}

async function become(what: string, condition: () => Promise<boolean>): Promise<void> {
  await mustBecomeSlowly(what, async () => ((await condition()) ? true : undefined));
}

async function mustBecomeSlowly<Value>(
  what: string,
  ask: () => Promise<Value | undefined>,
): Promise<Value> {
  let last: unknown;
  const found = await waitFor(
    () =>
      ask().catch((error: unknown) => {
        last = error;
        return undefined;
      }),
    { timeoutMs: STEP_MS },
  );
  if (found === undefined) throw new Error(`never came true: ${what}`, { cause: last });
  return found;
}

async function vms({ mustCall }: RunningInstance): Promise<readonly VmResource[]> {
  return listOf(VmResource).parse(await mustCall("GET", "/v1/vms")).items;
}

async function nodes({ mustCall }: RunningInstance): Promise<readonly Node[]> {
  return listOf(Node).parse(await mustCall("GET", `/v1/nodes?partition=${PARTITION}`)).items;
}

async function decisions({ mustCall }: RunningInstance): Promise<readonly PartitionDecision[]> {
  const path = `/v1/partitions/${PARTITION}/decisions?limit=1000`;
  return listOf(PartitionDecision).parse(await mustCall("GET", path)).items;
}
