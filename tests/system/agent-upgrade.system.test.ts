import { existsSync, readFileSync } from "node:fs";

import { builtAgent } from "../support/kept-agent.ts";
import { mustBecome } from "../support/running-instance.ts";
import { assert, suite } from "../support/suite.ts";
import { anUpgradableNode } from "../support/upgradable-node.ts";

/** The same program with another version in it. */
function anotherVersion(): Buffer {
  const bytes = readFileSync(builtAgent());
  const at = bytes.lastIndexOf('="0.1.0"');
  if (at < 0) throw new Error("the version was not found in the binary");
  bytes.write('="0.1.9"', at);
  return bytes;
}

/** Says what a good agent says, and does otherwise when it shall run. */
const broken = (run: string): string => `#!/bin/sh
case $1 in
  version) echo strata-agent 9.9.9 ;;
  check) echo '{"fit":true}' ;;
  *) ${run} ;;
esac
`;

suite("the upgrade of a node's agent", (test) => {
  test(
    "replaces the program and leaves the containers alone; a broken one is rolled back",
    async () => {
      await using scene = await anUpgradableNode();
      const { agent, serve, processes, node, upgrade } = scene;
      const before = await processes();
      const original = readFileSync(agent.binary);
      const firstPid = agent.pid();

      serve("no program at all");
      const refused = await upgrade();
      assert.is(refused.state, "refused", JSON.stringify(refused));
      assert.is(agent.pid(), firstPid, "the agent was not touched");

      serve(broken("echo this one is broken; exit 3"));
      const rolledBack = await upgrade();
      assert.is(rolledBack.state, "rolledBack", JSON.stringify(rolledBack));
      assert.match(rolledBack.reason ?? "", /ended with 3/);
      assert.ok(readFileSync(agent.binary).equals(original), "the file is the one before");
      assert.equal(await processes(), before);

      serve(anotherVersion());
      const complete = await upgrade();
      assert.equal([complete.state, complete.version], ["complete", "0.1.9"], agent.log());
      assert.is((await node()).agentVersion, "0.1.9");
      assert.ok(readFileSync(`${agent.binary}.old`).equals(original));
      assert.not(existsSync(`${agent.binary}.new`));
      assert.equal(await processes(), before, "same containers, same pids, no restart");

      // Back again: a downgrade is an upgrade to what is served.
      serve(original);
      assert.equal((await upgrade()).version, "0.1.0");
      assert.equal(await processes(), before);
    },
    { timeoutMs: 600_000 },
  );

  test(
    "that is cut off by a kill in its trial leaves the agent as it was",
    async () => {
      await using scene = await anUpgradableNode();
      const { agent, serve, ask, untilOver, processes } = scene;
      const before = await processes();
      const original = readFileSync(agent.binary);
      // It hangs until the agent that tries it is gone.
      serve(broken("exec cat"));
      await ask();
      await mustBecome("the trial is under way", () =>
        Promise.resolve(/"trial"/.test(agent.readState("upgrade.json") ?? "") || undefined),
      );
      process.kill(agent.pid() ?? 0, "SIGKILL");
      const { state, reason } = await untilOver();
      assert.is(state, "rolledBack");
      assert.match(reason ?? "", /cut off/);
      assert.ok(readFileSync(agent.binary).equals(original));
      assert.equal(await processes(), before);
    },
    { timeoutMs: 300_000 },
  );
});
