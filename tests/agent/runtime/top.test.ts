import { Top } from "@strata/protocol/agent/top";

import { assert, suite } from "../../support/suite.ts";
import { aNode, type TestNode } from "../support/a-node.ts";
import { anAssignment } from "../support/an-assignment.ts";
import { aStream } from "../support/stream-connection.ts";

/** Asks again until it fits: a shell that runs has not started its children yet. */
async function topOf(node: TestNode, fits: (top: Top) => boolean): Promise<Top> {
  for (;;) {
    const request = { kind: "top", id: "top-1", processId: "web-1" } as const;
    const { output, end } = await aStream(node, request).result;
    assert.equal(end, { type: "exit", code: 0 });
    const top = Top.parse(JSON.parse(output.toString("utf8")));
    if (fits(top)) return top;
  }
}

suite("top", (test) => {
  test("shows each process with its own numbers of pid and user, and what it uses", async () => {
    await using node = await aNode({ config: { User: "www" } });
    const begunMs = Date.now();
    node.assign(
      anAssignment("while :; do :; done & sleep 1000 & exec sleep 2000", {
        spec: { stopGraceMs: 0 },
      }),
    );
    await node.until("web-1", ({ state }) => state === "running");
    const { total, processes, at } = await topOf(
      node,
      (top) =>
        top.processes.length === 4 &&
        top.processes[1]?.command === "sleep 2000" &&
        top.processes[3]?.command === "sleep 1000" &&
        (top.processes[2]?.cpuPercent ?? 0) > 0,
    );
    assert.is(total, 4);
    assert.is(processes.length, 4);
    assert.equal(
      processes.map(({ pid }) => pid),
      [1, 2, 3, 4],
    );
    const [init, application, busy, second] = processes;
    assert.is(init?.user, 33, "lxc-init runs as the image's user");
    assert.is(application?.command, "sleep 2000");
    assert.is(second?.command, "sleep 1000");
    assert.is(application?.user, 33);
    assert.is(application?.state, "sleeping");
    assert.ok((application?.memoryBytes ?? 0) > 4096);
    assert.is(application?.threads, 1);
    assert.ok((busy?.cpuPercent ?? 0) > 0 && (busy?.cpuPercent ?? 999) < 300);
    const startedMs = Date.parse(application?.startedAt ?? "");
    // The kernel's ticks are coarse.
    assert.ok(startedMs > begunMs - 1000 && startedMs <= Date.parse(at) + 1000);
  });

  test("shows hostile words as they are, and names what has none", async () => {
    await using node = await aNode();
    const evil = "\u001b[2Jx";
    node.assign(
      anAssignment(
        `sleep 1 & busybox sh -c 'exec sleep "$0"' 1000 & exec sh -c 'sleep 300; :' '${evil}'`,
        {
          spec: { stopGraceMs: 0 },
        },
      ),
    );
    await node.until("web-1", ({ state }) => state === "running");
    const { processes } = await topOf(node, (top) => top.processes.length > 3);
    assert.ok(processes.some(({ command }) => command.includes(evil)));
    assert.ok(processes.every(({ command }) => command !== ""));
  });
});
