import { parseDigest } from "@strata/protocol/oci/digest";

import { assert, suite } from "../../support/suite.ts";
import { aNode } from "../support/a-node.ts";
import { anAssignment } from "../support/an-assignment.ts";

const digest = (letter: string) => parseDigest(`sha256:${letter.repeat(64)}`);
const spec = (letter: string) => ({
  image: { repository: "busybox", digest: digest(letter) },
  stopGraceMs: 20_000,
});

suite("the images in use of a node", (test) => {
  test("are those that are assigned, from the first moment on, until they have ended", async () => {
    await using node = await aNode();
    node.assign(anAssignment("sleep 600", { spec: { ...spec("a"), stopGraceMs: 0 } }));
    assert.equal(node.runtime().imagesInUse(), new Set([digest("a")]));
    await node.until("web-1", ({ state }) => state === "running");
    await node.restart();
    assert.equal(node.runtime().imagesInUse(), new Set([digest("a")]));
    node.assign();
    await node.untilForgotten("web-1");
    assert.equal(node.runtime().imagesInUse(), new Set());
  });

  test("are both while the one that runs is replaced by another", async () => {
    await using node = await aNode();
    const stubborn = "trap 'echo asked' TERM; echo ready; while :; do sleep 0.05; done";
    node.assign(anAssignment(stubborn, { spec: spec("a") }));
    await node.until("web-1", ({ state }) => state === "running");
    node.assign(anAssignment("sleep 600", { fence: 2, generation: 2, spec: spec("b") }));
    await node.until("web-1", ({ state }) => state === "draining");
    assert.equal(node.runtime().imagesInUse(), new Set([digest("a"), digest("b")]));
    process.kill(node.report("web-1")?.pid ?? 0, "SIGKILL");
    await node.until("web-1", ({ state }) => state === "running");
    assert.equal(node.runtime().imagesInUse(), new Set([digest("b")]));
    node.assign(
      anAssignment("sleep 600", {
        fence: 3,
        generation: 3,
        spec: { ...spec("b"), stopGraceMs: 0 },
      }),
    );
  });

  test("are none of what has failed for good", async () => {
    await using node = await aNode();
    node.assign(anAssignment("", { spec: { ...spec("a"), command: [] } }));
    await node.until("web-1", ({ state }) => state === "failed");
    assert.equal(node.runtime().imagesInUse(), new Set());
  });
});
