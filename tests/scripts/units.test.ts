import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { renderUnit } from "../../scripts/instance/units.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";

const agent = {
  name: "agent",
  summary: "Strata agent",
  command: ["/bin/sh", "-c", "echo $HOME 100%"],
  environment: { STRATA_RUN: "/run/strata", STRATA_DATA: "/var/lib/with space$%" },
  version: "1",
} as const;

const hasVerifier = spawnSync("systemd-analyze", ["--version"]).status === 0;

suite("systemd units", (test) => {
  for (const name of ["agent", "controller"] as const) {
    test(`keep containers and virtual machines alive when the ${name} stops`, () => {
      const lines = renderUnit({ ...agent, name }).split("\n");
      assert.ok(lines.includes("KillMode=process"));
      assert.is(lines.includes("Delegate=yes"), name === "agent");
    });
  }

  test("protect what systemd would expand", () => {
    const text = renderUnit(agent);
    assert.match(text, 'ExecStart="/bin/sh" "-c" "echo $$HOME 100%%"');
    assert.match(text, 'Environment="STRATA_DATA=/var/lib/with space$%%"');
  });

  test("refuse a line break in a value", () => {
    assert.throws(() => renderUnit({ ...agent, command: ["/bin/sh", "x\nExecStartPre=/bin/y"] }));
  });

  if (!hasVerifier) {
    test.skip("are accepted by systemd", "systemd-analyze is not installed");
    return;
  }
  test("are accepted by systemd", async () => {
    await using folder = aTemporaryDirectory();
    const path = join(folder.path, "strata-agent.service");
    writeFileSync(path, renderUnit(agent));
    const { stdout, stderr } = spawnSync("systemd-analyze", ["verify", "--man=no", path], {
      encoding: "utf8",
    });
    const complaints = `${stdout}${stderr}`.split("\n").filter((line) => line.includes(path));
    assert.equal(complaints, []);
  });
});
