/** Probes of real containers. */
import { readFileSync, writeFileSync } from "node:fs";

import { askCommand } from "@strata/agent/container/ask-command";
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

const http: NonNullable<ProcessSpec["health"]> = {
  kind: "http",
  port: 8080,
  path: "/ready",
  intervalMs: 200,
  timeoutMs: 20_000,
  failureThreshold: 1,
};
const httpd = "echo > /var/www/alive; exec httpd -f -p 8080 -h /var/www";

suite("probes of a container", (test) => {
  test("say why a process is not ready, and restart nothing for that", async () => {
    await using node = await aNode();
    run(node, httpd, { health: http });
    const unready = await node.until("web-1", ({ state }) => state === "running");
    assert.not.ok(unready.ready);
    await inside(node, "touch /var/www/ready");
    const ready = await node.until("web-1", (report) => report.ready);
    assert.is(ready.problem, undefined);
    await inside(node, "rm /var/www/ready");
    const { problem, restarts } = await node.until("web-1", (report) => !report.ready);
    assert.equal(problem, {
      code: "NOT_READY",
      message: "readiness probe: GET :8080/ready answered 404",
    });
    assert.is(restarts, 0);
  });

  test("run as the application's user and under its restrictions", async () => {
    await using node = await aNode({ config: { User: "www" } });
    const script =
      'grep -qE "NoNewPrivs:.1" /proc/self/status && grep -qE "CapEff:.0{16}" /proc/self/status && ' +
      'grep -qE "Seccomp:.2" /proc/self/status && [ "$(id -u) $COLOUR" = "33 green" ] && ' +
      "[ $(ls /proc/self/fd | grep -cvE '^[0-3]$') = 0 ] && [ -e /dev/shm/ok ] || " +
      "{ echo first; echo no /dev/shm/ok; exit 3; }";
    run(node, untilStopped, {
      env: { COLOUR: "green" },
      probes: { readiness: aCommand(script) },
    });
    await node.until("web-1", ({ state }) => state === "running");
    await inside(node, "touch /dev/shm/ok");
    await node.until("web-1", (report) => report.ready);
    await inside(node, "rm /dev/shm/ok");
    const { problem } = await node.until("web-1", (report) => !report.ready);
    assert.is(problem?.message, "readiness probe: the command ended with 3: no /dev/shm/ok");
  });

  test("wait for the startup before they ask for anything else", async () => {
    await using node = await aNode();
    const started = "[ -e /dev/shm/started ]";
    run(node, httpd, {
      health: { ...http, path: "/alive" },
      probes: {
        startup: aCommand(started, { failureThreshold: 10_000 }),
        // Would end it at once.
        liveness: aCommand(started),
      },
    });
    await node.until("web-1", ({ state }) => state === "running");
    // The readiness probe would succeed by now, and the liveness probe would not.
    await inside(
      node,
      "until busybox wget -q -O /dev/null http://127.0.0.1:8080/alive; do sleep 0.05; done",
    );
    assert.not.ok(node.report("web-1")?.ready);
    await inside(node, "touch /dev/shm/started");
    const { restarts } = await node.until("web-1", ({ ready }) => ready);
    assert.is(restarts, 0);
  });

  test("end what does not start in time, and start it again", async () => {
    await using node = await aNode();
    run(node, untilStopped, { probes: { startup: aCommand("exit 2", { failureThreshold: 2 }) } });
    const { lastExit } = await node.until("web-1", ({ restarts }) => restarts > 0);
    assert.is(lastExit?.problem?.code, "STARTUP_FAILED");
    assert.match(
      lastExit?.problem?.message ?? "",
      /^not started within 0.6 s: startup probe: the command/,
    );
    const waiting = await node.until("web-1", ({ problem }) => problem?.code === "STARTUP_FAILED");
    assert.match(waiting.problem?.message ?? "", /starts again in \d+ s$/);
  });

  test("start again what does not live, by its stop signal, with the reason", async () => {
    await using node = await aNode();
    const liveness = aCommand("[ ! -e /dev/shm/dead ]", { failureThreshold: 2 });
    const script = "trap 'echo bye; exit 0' TERM; echo hello; while :; do sleep 0.05; done";
    run(node, script, { probes: { liveness } });
    await node.until("web-1", ({ ready }) => ready);
    await inside(node, "touch /dev/shm/dead");
    const again = await node.until("web-1", ({ restarts, ready }) => restarts === 1 && ready);
    assert.equal(again.lastExit?.problem, {
      code: "LIVENESS_FAILED",
      message: "liveness probe failed: 2 times: the command ended with 1",
    });
    assert.is(again.problem, undefined);
    assert.match(node.log("web-1"), /^hello\nbye\n/);
  });

  test("go on after a restart of the agent", async () => {
    await using node = await aNode();
    const script = "while [ ! -e /dev/shm/begun ]; do sleep 0.05; done; " + untilStopped;
    run(node, script, {
      probes: {
        startup: aCommand("touch /dev/shm/begun"),
        liveness: aCommand("[ ! -e /dev/shm/dead ]"),
      },
    });
    const before = await node.until("web-1", ({ ready }) => ready);
    await node.restart();
    const after = await node.until("web-1", ({ ready }) => ready);
    assert.is(after.pid, before.pid);
    await inside(node, "touch /dev/shm/dead");
    const { lastExit } = await node.until("web-1", ({ restarts }) => restarts === 1);
    assert.is(lastExit?.problem?.code, "LIVENESS_FAILED");
  });

  test("are those of the image where nobody says others", async () => {
    const Healthcheck = { Test: ["CMD-SHELL", "test -e /dev/shm/ok"], Interval: 1_000_000_000 };
    await using node = await aNode({ config: { Healthcheck } });
    run(node, untilStopped, {});
    await node.until("web-1", ({ state }) => state === "running");
    assert.not.ok(node.report("web-1")?.ready);
    await inside(node, "touch /dev/shm/ok");
    await node.until("web-1", ({ ready }) => ready);
  });
});

suite("commands of probes", (test) => {
  const leaving =
    "setsid sleep 1001 & (setsid sh -c 'sleep 1002 & sleep 1003' &) ; sleep 0.2; sleep 1004 &";

  test("are killed at their timeout, with all that they started", async () => {
    await using node = await aNode();
    const once = "[ -e /dev/shm/hung ] && { touch /dev/shm/again; exit 4; }; touch /dev/shm/hung;";
    const readiness = aCommand(`${once} ${leaving} wait`, { timeoutMs: 2000 });
    run(node, untilStopped, { probes: { readiness } });
    // The second command shows that the first is over.
    await node.until("web-1", ({ state }) => state === "running");
    await inside(node, "until [ -e /dev/shm/again ]; do sleep 0.05; done");
    assert.not.match(await inside(node, "busybox ps -o args"), /sleep 100\d/);
  });

  test("leave nothing behind when they end", async () => {
    await using node = await aNode();
    run(node, untilStopped, { probes: { readiness: aCommand(leaving) } });
    await node.until("web-1", ({ ready }) => ready);
    const { start } = node.runtime().services;
    assert.equal(start.cgroups.listProbePids("web-1", "readiness"), []);
  });

  test("end with the process that they are about, and with the agent", async () => {
    await using node = await aNode();
    // Longer than this test may take.
    const readiness = aCommand("echo >> /dev/shm/asked; sleep 1001", { timeoutMs: 600_000 });
    run(node, untilStopped, { probes: { readiness } });
    await node.until("web-1", ({ state }) => state === "running");
    const { cgroups } = node.runtime().services.start;
    await inside(node, "until [ -e /dev/shm/asked ]; do sleep 0.05; done");
    const before = cgroups.listProbePids("web-1", "readiness");
    assert.ok(before.length > 0);
    await node.restart();
    await inside(node, "until [ $(grep -c '' /dev/shm/asked) = 2 ]; do sleep 0.05; done");
    const after = cgroups.listProbePids("web-1", "readiness");
    assert.equal(
      before.filter((pid) => after.includes(pid)),
      [],
    );
    node.assign();
    await node.untilForgotten("web-1");
  });

  test("end what another life of the agent left in the middle", async () => {
    await using node = await aNode();
    run(node, untilStopped, {});
    await node.until("web-1", ({ state }) => state === "running");
    const { start } = node.runtime().services;
    const ask = (script: string): ReturnType<typeof askCommand> =>
      askCommand(
        start,
        {
          processId: "web-1",
          name: "readiness",
          probe: aCommand(script, { timeoutMs: 600_000 }),
        },
        new AbortController().signal,
      );
    const first = ask("touch /dev/shm/asked; sleep 1001");
    await inside(node, "until [ -e /dev/shm/asked ]; do sleep 0.05; done");
    assert.equal(await ask("exit 0"), { isWell: true });
    assert.not.ok((await first).isWell);
    assert.not.match(await inside(node, "busybox ps -o args"), /sleep 1001/);
  });

  test("tell of themselves in one short line without commands for a terminal", async () => {
    await using node = await aNode();
    run(node, untilStopped, {});
    await node.until("web-1", ({ state }) => state === "running");
    const { start } = node.runtime().services;
    const script = "head -c 3000000 /dev/zero; printf 'a\\nb \\033[31mred%0999d\\n\\n' 1; exit 5";
    const answer = await askCommand(
      start,
      { processId: "web-1", name: "liveness", probe: aCommand(script) },
      new AbortController().signal,
    );
    assert.not.ok(answer.isWell);
    assert.match(
      answer.isWell ? "" : answer.why,
      /^the command ended with 5: b {2}\[31mred0{100,}$/,
    );
  });

  test("do not ask a container that is frozen", async () => {
    await using node = await aNode();
    run(node, httpd, {});
    const { pid, address } = await node.until("web-1", ({ state }) => state === "running");
    const { services } = node.runtime();
    const ask = services.ask({ processId: "web-1", address: address ?? "" });
    const { signal } = new AbortController();
    const command = { name: "liveness", probe: aCommand("exit 0") } as const;
    const page = { name: "readiness", probe: { ...http, path: "/alive", timeoutMs: 300 } } as const;
    assert.equal(await ask(command, signal), { isWell: true });
    freeze(pid ?? 0, true);
    try {
      assert.is(await ask(command, signal), undefined);
      assert.is(await ask(page, signal), undefined);
    } finally {
      freeze(pid ?? 0, false);
    }
    assert.equal(await ask(command, signal), { isWell: true });
    const patient = { ...page, probe: { ...page.probe, timeoutMs: 20_000 } };
    assert.equal(await ask(patient, signal), { isWell: true });
  });
});

/** By whichever version of control groups can. */
function freeze(pid: number, isFrozen: boolean): void {
  const groups = readFileSync(`/proc/${pid}/cgroup`, "utf8");
  const legacy = /^\d+:freezer:(.*)$/m.exec(groups)?.[1];
  const unified = /^0::(.*)$/m.exec(groups)?.[1];
  if (legacy === undefined) {
    writeFileSync(`/sys/fs/cgroup${unified}/cgroup.freeze`, isFrozen ? "1" : "0");
  } else {
    writeFileSync(`/sys/fs/cgroup/freezer${legacy}/freezer.state`, isFrozen ? "FROZEN" : "THAWED");
  }
}
