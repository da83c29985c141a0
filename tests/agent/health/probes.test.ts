/** Probes of real containers. */
import type { ProcessSpec } from "@strata/protocol/agent/messages";
import type { ExecProbe } from "@strata/protocol/agent/probes";

import { assert, suite } from "../../support/suite.ts";
import { aNode, type TestNode } from "../support/a-node.ts";
import { anAssignment } from "../support/an-assignment.ts";
import { anExec } from "../support/exec-connection.ts";

const untilStopped = "trap 'exit 0' TERM; while :; do sleep 0.05; done";

function aCommand(script: string, fields: Partial<ExecProbe> = {}): ExecProbe {
  return {
    kind: "exec",
    command: ["sh", "-c", script],
    intervalMs: 300,
    timeoutMs: 20_000,
    failureThreshold: 1,
    ...fields,
  };
}

function run(node: TestNode, script: string, spec: Partial<ProcessSpec>): void {
  node.assign(anAssignment(script, { spec: { stopGraceMs: 5000, ...spec } }));
}

async function inside(node: TestNode, script: string): Promise<string> {
  const { stdout } = await anExec(node, { command: ["sh", "-c", script] }).result;
  return stdout;
}

suite("exec probes", (test) => {
  test("decide on readiness, as the application's user and under its restrictions", async () => {
    await using node = await aNode({ config: { User: "www" } });
    const script =
      'grep -qE "NoNewPrivs:.1" /proc/self/status && grep -qE "CapEff:.0{16}" /proc/self/status && ' +
      'grep -qE "Seccomp:.2" /proc/self/status && [ "$(id -u) $COLOUR" = "33 green" ] && [ -e /dev/shm/ok ] || ' +
      "{ echo first; echo no /dev/shm/ok; exit 3; }";
    run(node, untilStopped, {
      env: { COLOUR: "green" },
      probes: { readiness: aCommand(script) },
    });
    await node.until("web-1", ({ state }) => state === "running");
    await inside(node, "touch /dev/shm/other");
    const before = node.report("web-1");
    assert.not.ok(before?.ready);
    await inside(node, "touch /dev/shm/ok");
    const ready = await node.until("web-1", (report) => report.ready);
    assert.is(ready.problem, undefined);
    await inside(node, "rm /dev/shm/ok");
    const unready = await node.until("web-1", (report) => !report.ready);
    assert.equal(unready.problem, {
      code: "NOT_READY",
      message: "readiness probe: the command ended with 3: no /dev/shm/ok",
    });
    assert.is(unready.restarts, 0);
  });
});
