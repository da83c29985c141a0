/** Who may write to a volume, on real containers; and what becomes of volumes that nobody wants. */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { createVolumeRemover } from "@strata/agent/container/volume-remover";
import { agentPaths } from "@strata/agent/paths";
import type { Volume } from "@strata/protocol/agent/messages";

import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";
import { aNode } from "../support/a-node.ts";
import { anAssignment } from "../support/an-assignment.ts";

const data: Volume = { kind: "named", name: "data", path: "/data", readOnly: false };
const writing =
  "echo from $HOSTNAME >> /data/file; trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done";

suite("a volume's fence", (test) => {
  test("is kept beside it, and a process with a lower one is never started again", async () => {
    await using node = await aNode();
    const holder = (processId: string, fence: number): ReturnType<typeof anAssignment> =>
      anAssignment(writing, {
        processId,
        spec: { volumes: [data] },
        volumeFences: { data: fence },
      });
    node.assign(holder("db-1", 7));
    await node.until("db-1", ({ state }) => state === "running");
    // Told late of one that was overtaken long ago, also by another life of the agent.
    node.assign(holder("db-1", 7), holder("db-0", 6));
    const late = await node.until("db-0", ({ state }) => state === "failed");
    assert.is(late.problem?.code, "VOLUME_FENCED");
    await node.restart();
    node.assign(holder("db-1", 7), holder("db-0", 6));
    assert.is(node.report("db-0")?.state, "failed");
    assert.is(node.report("db-1")?.state, "running", "the same holder goes on");

    // Overtaken itself, it may not even come back from a crash.
    node.assign(holder("db-2", 8));
    await node.until("db-2", ({ state }) => state === "running");
    node.assign(holder("db-2", 8), holder("db-1", 0));
    const overtaken = await node.until("db-1", ({ state }) => state === "failed");
    assert.is(overtaken.problem?.code, "VOLUME_FENCED");
  });
});

suite("a volume that nobody wants", (test) => {
  test("is removed unless something uses it, and then told of until nobody asks", async () => {
    await using folder = aTemporaryDirectory();
    const paths = { volumes: join(folder.path, "volumes") };
    const names = ["used", "unused", "kept"].map((name) => ({ tenant: "default", name }));
    for (const { tenant, name } of names) {
      mkdirSync(join(paths.volumes, tenant, name), { recursive: true });
      writeFileSync(join(paths.volumes, tenant, name, "file"), "text");
    }
    let used = "used";
    let told = 0;
    const remover = createVolumeRemover({
      paths,
      isUsed: ({ name }) => name === used,
      onRemoved: () => {
        told += 1;
      },
    });
    const [first, second] = names;
    if (first === undefined || second === undefined) throw new Error("there are three");
    remover.want([first, second]);
    await remover.work();
    assert.equal(remover.removed(), [second]);
    used = "";
    await remover.work();
    await remover.work();
    assert.equal([remover.removed(), told], [[first, second], 2]);
    assert.ok(existsSync(join(paths.volumes, "default/kept/file")));
    remover.want([]);
    assert.equal(remover.removed(), []);
  });

  test("is in use as long as a process has it that may run", async () => {
    await using node = await aNode();
    const volume = { tenant: "default", name: "data" };
    assert.not.ok(node.runtime().usesVolume(volume));
    node.assign(anAssignment(writing, { spec: { volumes: [data] } }));
    assert.ok(node.runtime().usesVolume(volume));
    await node.until("web-1", ({ state }) => state === "running");
    assert.not.ok(node.runtime().usesVolume({ ...volume, tenant: "acme" }));
    node.assign(anAssignment(writing, { desired: "stopped", spec: { volumes: [data] } }));
    await node.until("web-1", ({ state }) => state === "stopped");
    assert.not.ok(node.runtime().usesVolume(volume));
    assert.ok(existsSync(join(agentPaths(node.config).volumes, "default/data")));
  });
});
