import type { Assignment } from "@strata/protocol/agent/messages";
import type { HttpProbe } from "@strata/protocol/agent/probes";

import { assert, suite } from "../../support/suite.ts";
import { aNode, type TestNode } from "../support/a-node.ts";
import { anAssignment } from "../support/an-assignment.ts";

const http: HttpProbe = {
  kind: "http",
  port: 8080,
  path: "/",
  intervalMs: 1000,
  timeoutMs: 1000,
  failureThreshold: 3,
};

/** Serves pages from its memory file system, and counts the seconds that it lives through. */
const aServer = (wishes: Partial<Omit<Assignment, "spec">> = {}, spec = {}): Assignment =>
  anAssignment("mkdir /www; echo hello > /www/index.html; exec httpd -f -p 8080 -h /www", {
    frozen: true,
    ...wishes,
    spec: { health: http, stopGraceMs: 20_000, ...spec },
  });

async function untilAsleep(node: TestNode): Promise<string> {
  const { address, state, ready } = await node.until("web-1", ({ sleep }) => sleep === "frozen");
  assert.equal([state, ready], ["running", false]);
  const { cgroups } = node.runtime().services.start;
  assert.ok(cgroups.isFrozen("web-1"));
  return address ?? "";
}

async function get(address: string): Promise<string> {
  return await (await fetch(`http://${address}:8080/`)).text();
}

suite("a process whose subscription sleeps", (test) => {
  test("is frozen once it is ready, and answers what came meanwhile when it is woken", async () => {
    await using node = await aNode();
    node.assign(aServer());
    const address = await untilAsleep(node);
    let isAnswered = false;
    const answer = get(address).then((text) => {
      isAnswered = true;
      return text;
    });
    // Somebody that answers has the time to while another container is asked.
    await fetch(`http://${address}:8080/`, { signal: AbortSignal.timeout(500) }).catch(
      () => "late",
    );
    assert.not.ok(isAnswered);
    assert.ok(node.runtime().getProcess("web-1")?.wakeUp());
    assert.is(await answer, "hello\n");
    const woken = node.report("web-1");
    assert.equal([woken?.sleep, woken?.ready], ["woken", true]);
    node.assign(aServer());
    assert.is(await get(address), "hello\n", "the wish that it was woken against stands no more");
    node.assign(aServer({ fence: 2 }));
    await untilAsleep(node);
    node.assign(aServer({ fence: 3, frozen: false }));
    await node.until("web-1", ({ sleep, ready }) => sleep === undefined && ready);
    assert.is(await get(address), "hello\n");
  });

  test("stays frozen over the agent's end, and then wakes ready, without being asked", async () => {
    await using node = await aNode();
    node.assign(aServer());
    const address = await untilAsleep(node);
    const pid = node.report("web-1")?.pid;
    await node.restart();
    await untilAsleep(node);
    assert.is(node.report("web-1")?.pid, pid);
    assert.ok(node.runtime().getProcess("web-1")?.wakeUp());
    assert.is(await get(address), "hello\n");
    await node.restart();
    assert.is(node.report("web-1")?.sleep, "woken", "another life knows of the wake");
  });

  test("is thawed to be stopped, so that it ends by its own will", async () => {
    await using node = await aNode();
    const script = "trap 'exit 7' TERM; touch /run/up; while :; do sleep 0.1; done";
    node.assign(anAssignment(script, { frozen: true, spec: { stopGraceMs: 60_000 } }));
    await untilAsleep(node);
    node.assign(anAssignment(script, { fence: 2, desired: "stopped" }));
    const { lastExit } = await node.until("web-1", ({ state }) => state === "stopped");
    assert.equal([lastExit?.code, lastExit?.reason], [7, "exited"]);
  });

  test("takes over other limits while it is frozen", async () => {
    await using node = await aNode();
    node.assign(aServer());
    await untilAsleep(node);
    const limits = { memoryMaxBytes: 96 * 1024 ** 2, cpuMaxMillis: 500, pidsMax: 32 };
    node.assign(aServer({ fence: 2, generation: 2 }, { limits }));
    const pids = (): number | undefined =>
      node.runtime().getProcess("web-1")?.snapshot.record.run?.spec.limits.pidsMax;
    await node.until("web-1", () => pids() === 32);
    await untilAsleep(node);
    node.assign(aServer({ fence: 3, generation: 2, frozen: false }, { limits }));
    await node.until("web-1", ({ ready }) => ready);
  });
});
