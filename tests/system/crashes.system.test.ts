import type { Process } from "@strata/protocol/api/resources";

import {
  killDaemon,
  aRunningInstance,
  mustBecome,
  urlOf,
  pageOf,
} from "../support/running-instance.ts";
import { assert, suite } from "../support/suite.ts";

suite("a process that ends by itself", (test) => {
  test(
    "is reported with its code and started again, at once and then with growing pauses",
    async () => {
      await using strata = await aRunningInstance();
      await strata.mustCall("PUT", "/v1/subscriptions/crasher", {
        cartridge: "hello",
        command: ["/bin/busybox", "sh", "-c", "echo up; sleep 0.2; exit 7"],
        health: { kind: "tcp", port: 9 },
      });
      const crashed = await mustBecome("three restarts and a pause", async () => {
        const [one] = await strata.processes("crasher");
        // While it runs, its probe may have something to say as well.
        return /30 s/.test(one?.reason?.message ?? "") ? one : undefined;
      });
      assert.equal([crashed.lastExit?.code, crashed.lastExit?.reason], [7, "exited"]);
      assert.is(crashed.state, "starting");
      assert.is(crashed.restarts, 3);
      const { text } = await strata.call("GET", `/v1/processes/${crashed.id}/logs`);
      assert.is(text, "up\n".repeat(4));
      const events = await strata.events();
      assert.ok(
        events.some(({ subject, message }) => subject === crashed.id && /\b7\b/.test(message)),
        "no event tells the exit code",
      );
    },
    { timeoutMs: 120_000 },
  );

  test(
    "keeps its place when it is killed, and its memory limit when it grows past it",
    async () => {
      await using strata = await aRunningInstance();
      const [hello] = await strata.readyProcesses("hello", 1);
      process.kill(hello?.pid ?? 0, "SIGKILL");
      const restarted = await mustBecome("hello runs again", async () => {
        const [one] = await strata.processes("hello");
        return one?.restarts === 1 && one.ready ? one : undefined;
      });
      assert.is(restarted.id, hello?.id);
      assert.is(urlOf(restarted), urlOf(hello));
      assert.equal([restarted.lastExit?.code, restarted.lastExit?.reason], [137, "signaled"]);
      assert.match(await pageOf(urlOf(restarted)), restarted.id);

      await strata.mustCall("PUT", "/v1/subscriptions/glutton", {
        cartridge: "hello",
        command: ["/bin/busybox", "sh", "-c", "sleep 1; tail /dev/zero"],
        resources: { memory: "16Mi", cpu: 1, pids: 16 },
        health: { kind: "tcp", port: 9 },
      });
      const killed = await mustBecome("the glutton is killed", async () => {
        const [one] = await strata.processes("glutton");
        return one?.lastExit === null ? undefined : one;
      });
      assert.is(killed?.lastExit?.reason, "out-of-memory");
    },
    { timeoutMs: 120_000 },
  );
});

suite("kill -9 of the agent", (test) => {
  test(
    "leaves a process running whose logs go on where they were, followed all the time",
    async () => {
      await using strata = await aRunningInstance();
      await strata.mustCall("PUT", "/v1/subscriptions/clock", {
        cartridge: "hello",
        command: [
          "/bin/busybox",
          "sh",
          "-c",
          "i=0; while :; do echo tick $((i+=1)); sleep 0.05; done",
        ],
        ports: [],
      });
      const [before] = await strata.readyProcesses("clock", 1);
      await killDaemon(strata.instance, "agent");
      const lines = await mustBecome("the logs show 40 lines or more", async () => {
        const { text, status } = await strata.call("GET", `/v1/processes/${before?.id ?? ""}/logs`);
        const found = text.trimEnd().split("\n");
        return status === 200 && found.length >= 40 ? found : undefined;
      });
      lines.forEach((line, index) => assert.is(line, `tick ${index + 1}`));
      const [after] = await strata.readyProcesses("clock", 1);
      assert.equal(identityOf(after), identityOf(before));
    },
    { timeoutMs: 120_000 },
  );
});

function identityOf(one: Process | undefined): unknown {
  return [one?.id, one?.pid, one?.startedAt, one?.restarts, one?.address];
}
