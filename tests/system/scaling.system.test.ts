import { once } from "node:events";
import { connect, type Socket } from "node:net";

import { Decision } from "@strata/protocol/api/decisions";
import type { Process } from "@strata/protocol/api/resources";
import { listOf } from "@strata/protocol/api/resources";

import {
  aRunningInstance,
  killDaemon,
  mustBecome,
  type RunningInstance,
  urlOf,
} from "../support/running-instance.ts";
import { assert, suite } from "../support/suite.ts";

/** Everything quick, so that nobody waits for windows of minutes. */
const quick = {
  warmUp: 0,
  sampleInterval: "500ms",
  stableWindow: "3s",
  panic: { window: "1s" },
  forecast: { enabled: false },
  stabilisation: { shrink: "2s" },
  rates: { shrink: { processes: 8, period: "1s" } },
};

/** Serves its page, and burns its share of the processor while the file /srv/burn is there. */
const burner = [
  "/bin/busybox",
  "sh",
  "-c",
  "busybox httpd -p 8080 -h /srv; while :; do while [ -e /srv/burn ]; do :; done; sleep 0.1; done",
];

async function exec(strata: RunningInstance, one: Process, command: string): Promise<void> {
  const body = { command: ["/bin/busybox", ...command.split(" ")] };
  await strata.mustCall("POST", `/v1/processes/${one.id}/exec`, body);
}

async function decisionsOf(strata: RunningInstance, alias: string): Promise<readonly Decision[]> {
  const path = `/v1/subscriptions/${alias}/decisions?limit=1000&changes=true`;
  return listOf(Decision).parse(await strata.mustCall("GET", path)).items;
}

/** Connections to the first port of the process, open until the end of the scope. */
async function someConnections(one: Process, count: number): Promise<AsyncDisposable> {
  const { hostname, port } = new URL(urlOf(one));
  const sockets = await Promise.all(
    Array.from({ length: count }, async (): Promise<Socket> => {
      const socket = connect(Number(port), hostname);
      socket.on("error", () => undefined); // The server may close it in the end.
      await once(socket, "connect");
      return socket;
    }),
  );
  return {
    [Symbol.asyncDispose]: async () => {
      await Promise.all(
        sockets.map(async (socket) => {
          if (socket.destroyed) return;
          const closed = once(socket, "close");
          socket.destroy();
          await closed;
        }),
      );
    },
  };
}

suite("level 1 on real containers", (test) => {
  test(
    "grows while a process burns its processors, and shrinks when it stops",
    async () => {
      await using strata = await aRunningInstance();
      await strata.mustCall("PUT", "/v1/scaling-policies/by-cpu", {
        ...quick,
        min: 1,
        max: 3,
        metrics: [{ kind: "cpu", target: 40 }],
      });
      await strata.mustCall("PUT", "/v1/subscriptions/burner", {
        cartridge: "hello",
        command: burner,
        scalingPolicy: "by-cpu",
        resources: { memory: "32Mi", cpu: "200m", pids: 64 },
      });
      const [first] = await strata.readyProcesses("burner", 1);
      if (first === undefined) throw new Error("no process");
      await exec(strata, first, "touch /srv/burn");
      const grown = await mustBecome("the burner grows", async () => {
        const all = await strata.processes("burner");
        return all.length >= 2 && all.every(({ ready }) => ready) ? all : undefined;
      });
      assert.ok(grown.some(({ id }) => id === first.id));
      const [grow] = (await decisionsOf(strata, "burner")).toReversed();
      assert.match(grow?.reason ?? "", /^grow from 1 to [23]: cpu/);
      await exec(strata, first, "rm /srv/burn");
      await strata.readyProcesses("burner", 1);
    },
    { timeoutMs: 240_000 },
  );

  test(
    "counts connections, goes on after kill -9 of the controller, and lets the busy process drain",
    async () => {
      await using strata = await aRunningInstance();
      await strata.mustCall("PUT", "/v1/scaling-policies/by-connections", {
        ...quick,
        min: 1,
        max: 8,
        metrics: [{ kind: "in-flight", target: 2 }],
        // One more every two seconds, so that there is a middle to be killed in.
        rates: { ...quick.rates, grow: { processes: 1, percent: 0, period: "2s" } },
        drainMax: "50s",
      });
      await strata.mustCall("PUT", "/v1/subscriptions/busy", {
        cartridge: "hello",
        scalingPolicy: "by-connections",
      });
      const [first] = await strata.readyProcesses("busy", 1);
      if (first === undefined) throw new Error("no process");
      {
        await using _open = await someConnections(first, 10);
        await mustBecome("it grows", async () =>
          (await strata.subscription("busy")).processes >= 3 ? true : undefined,
        );
        await killDaemon(strata.instance, "controller");
        await mustBecome("it grows on to five", async () =>
          (await strata.subscription("busy")).processes === 5 ? true : undefined,
        );
        const decisions = (await decisionsOf(strata, "busy")).toReversed();
        for (const { from, desired, at } of decisions) {
          assert.is(desired, from + 1, `the rate was kept at ${at}, over the restart too`);
        }
        const times = decisions.map(({ at }) => Date.parse(at));
        for (const [index, at] of times.entries())
          if (index > 0) assert.ok(at - (times[index - 1] ?? 0) >= 2000);
        assert.ok((await strata.processes("busy")).some(({ id }) => id === first.id));
      }
      await strata.readyProcesses("busy", 1);
    },
    { timeoutMs: 240_000 },
  );
});
