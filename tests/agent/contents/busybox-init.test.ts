import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import type { ProcessSpec } from "@strata/protocol/agent/messages";

import { assert, suite } from "../../support/suite.ts";
import { aNode, type TestNode } from "../support/a-node.ts";
import { anAssignment } from "../support/an-assignment.ts";
import { anExec } from "../support/exec-connection.ts";

const inittab = `::sysinit:/bin/busybox echo system begins
::respawn:/bin/sh /etc/worker
::respawn:/bin/busybox httpd -f -p 8080 -h /var/www
::shutdown:/bin/busybox echo system ends
`;

async function aSystem(spec: Partial<ProcessSpec> = {}): Promise<TestNode> {
  const node = await aNode({
    config: { Entrypoint: ["/sbin/init"] },
    change: (layer) => {
      mkdirSync(join(layer, "sbin"));
      symlinkSync("../bin/busybox", join(layer, "sbin/init"));
      writeFileSync(join(layer, "etc/inittab"), inittab);
      writeFileSync(join(layer, "etc/worker"), "echo $$ >/tmp/pid; exec sleep 1000\n");
    },
  });
  node.assign(assignmentOf(spec));
  return node;
}

function assignmentOf(spec: Partial<ProcessSpec> = {}): ReturnType<typeof anAssignment> {
  const assignment = anAssignment("", { spec: { stopGraceMs: 60_000, ...spec } });
  const { command: _, ...rest } = assignment.spec;
  return { ...assignment, spec: rest };
}

async function run(node: TestNode, script: string): Promise<string> {
  const { stdout } = await anExec(node, { command: ["sh", "-c", script] }).result;
  return stdout.trim();
}

suite("busybox init as PID 1", (test) => {
  test("looks after its services, and ends in order", async () => {
    await using node = await aSystem();
    const { pid } = await node.until("web-1", ({ state }) => state === "running");
    const restarted = await run(
      node,
      "until [ -s /tmp/pid ]; do :; done; old=$(cat /tmp/pid); kill -9 $old; " +
        'until new=$(cat /tmp/pid) && [ -n "$new" ] && [ "$new" != "$old" ]; do sleep 0.1; done; echo again',
    );
    assert.is(restarted, "again");
    await node.restart();
    assert.is((await node.until("web-1", ({ state }) => state === "running")).pid, pid);
    node.assign({ ...assignmentOf(), desired: "stopped", fence: 2 });
    const { lastExit } = await node.until("web-1", ({ state }) => state === "stopped");
    assert.equal([lastExit?.code, lastExit?.reason], [0, "exited"]);
    assert.match(node.log("web-1"), /system begins[^]*system ends/);
  });

  test("has the volumes, files and folders in memory that were asked for", async () => {
    await using node = await aSystem({
      volumes: [{ kind: "named", name: "data", path: "/data", readOnly: false }],
      files: [{ path: "/run/app.conf", mode: 0o444, content: { text: "hello" } }],
    });
    await node.until("web-1", ({ state }) => state === "running");
    const output = await run(
      node,
      "cat /run/app.conf; echo; stat -f -c %T /run /tmp; touch /data/x && echo written; umount /run/app.conf 2>/dev/null || echo held",
    );
    assert.is(output, "hello\ntmpfs\ntmpfs\nwritten\nheld");
  });

  test("is an application where that was said", async () => {
    await using node = await aSystem({
      init: "application",
      command: ["sh", "-c", "echo $$; exec sleep 600"],
      stopGraceMs: 0,
    });
    await node.until("web-1", ({ state }) => state === "running");
    assert.is.not(await run(node, "readlink /proc/1/exe"), "/bin/busybox");
  });
});
