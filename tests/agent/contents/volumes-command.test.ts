import { spawnSync } from "node:child_process";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

import { assert, suite } from "../../support/suite.ts";
import { aNode, type TestNode } from "../support/a-node.ts";
import { anAssignment } from "../support/an-assignment.ts";

const main = fileURLToPath(new URL("../../../agent/src/main.ts", import.meta.url));

/** The program itself, over the node's data. */
function strataAgent(
  node: TestNode,
  ...args: readonly string[]
): { code: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, "volumes", ...args], {
    env: { PATH: process.env.PATH, STRATA_DATA: dirname(node.config.dataDirectory) },
    encoding: "utf8",
  });
  return { code: status, output: stdout + stderr };
}

suite("strata-agent volumes", (test) => {
  test("lists the node's volumes, and deletes only what no process has", async () => {
    await using node = await aNode();
    assert.equal(strataAgent(node), { code: 0, output: "" });
    node.assign(
      anAssignment("echo x > /data/x; exec sleep 600", {
        spec: {
          stopGraceMs: 0,
          volumes: [{ kind: "named", name: "data", path: "/data", readOnly: false }],
        },
      }),
    );
    await node.until("web-1", ({ state }) => state === "running");
    assert.match(strataAgent(node).output, /^default\/data\t\d+ KiB\tused by web-1\n$/);
    const refused = strataAgent(node, "delete", "default", "data");
    assert.is(refused.code, 1);
    assert.match(refused.output, /is used by web-1/);

    node.assign();
    await node.untilForgotten("web-1");
    assert.match(strataAgent(node).output, /\tunused\n$/);
    assert.is(strataAgent(node, "delete", "default", "data").code, 0);
    assert.equal(strataAgent(node), { code: 0, output: "" });
  });

  test("refuses what is no name", async () => {
    await using node = await aNode();
    for (const args of [
      ["delete", "..", "data"],
      ["delete", "default", "."],
      ["delete", "default"],
      ["erase"],
    ]) {
      assert.is.not(strataAgent(node, ...args).code, 0, args.join(" "));
    }
  });
});
