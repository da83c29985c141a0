import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { aScratchInstance } from "../../scripts/instance/scratch.ts";
import { root } from "../../scripts/root.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";

const readme = readFileSync(join(root, "README.md"), "utf8");
const blocks = [...readme.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, text = ""]) => text);

/** `curl -s` is quiet about a refusal; a test must not be. */
const strictCurl = 'curl() { command curl --fail-with-body "$@" && echo; }\n';

suite("the README", (test) => {
  test("has its tour in blocks of shell", () => {
    assert.ok(blocks.length >= 5, `only ${blocks.length} blocks were found`);
    const curlLines = readme.split("\n").filter((line) => /^(id=\$\()?curl /.test(line));
    const inBlocks = blocks
      .join("\n")
      .split("\n")
      .filter((line) => /^(id=\$\()?curl /.test(line));
    assert.equal(inBlocks, curlLines, "a curl line stands outside of the blocks that are run");
  });

  test(
    "has a tour that works, line by line, as it is written",
    async () => {
      await using folder = aTemporaryDirectory();
      await using scratch = await aScratchInstance(folder.path, () => undefined);
      const { settings } = scratch.instance;
      const { status, stdout, stderr } = spawnSync(
        "sh",
        ["-eux", "-c", strictCurl + blocks.join("\n")],
        {
          cwd: root,
          encoding: "utf8",
          env: { ...process.env, ...settings },
          timeout: 240_000,
        },
      );
      assert.is(status, 0, `${stdout}\n${stderr}`);
      assert.match(stdout, '"alias":"shop"');
    },
    { timeoutMs: 400_000 },
  );
});
