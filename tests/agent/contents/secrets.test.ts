import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

import type { SecretSource } from "@strata/agent/container/secret-keeper";
import { AgentError } from "@strata/agent/errors";
import { agentPaths } from "@strata/agent/paths";
import type { ProcessSpec } from "@strata/protocol/agent/messages";

import { assert, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";
import { aNode, type TestNode } from "../support/a-node.ts";
import { anAssignment } from "../support/an-assignment.ts";
import { anExec } from "../support/exec-connection.ts";

const VALUE = "correct horse battery staple";
const db = { name: "db", version: 1 };
const spec: Partial<ProcessSpec> = {
  stopGraceMs: 0,
  files: [
    { path: "/run/secrets/db", mode: 0o400, content: { secret: db } },
    { path: "/etc/app/plain.conf", mode: 0o444, content: { text: "listen 80\n" } },
  ],
  secretEnv: { DB_PASSWORD: db },
};

/** A controller that has the value, and counts how often it was asked; away while `isAway`. */
function aSource(): { readonly source: SecretSource; readonly asked: string[]; isAway: boolean } {
  const asked: string[] = [];
  const scene = {
    asked,
    isAway: false,
    source: async ({ tenant, name, version }: Parameters<SecretSource>[0]): Promise<Buffer> => {
      asked.push(`${tenant}/${name}/${version}`);
      if (scene.isAway) throw new AgentError("CONTROLLER_UNREACHABLE", "away", { retryable: true });
      return Buffer.from(VALUE);
    },
  };
  return scene;
}

async function untilExit(
  node: TestNode,
  script: string,
  changes: Partial<ProcessSpec> = {},
): Promise<string> {
  node.assign(anAssignment(`${script}; exit 0`, { spec: { ...spec, ...changes } }));
  const { problem } = await node.until("web-1", (report) => report.problem !== undefined);
  assert.is(problem?.code, "CRASHED", problem?.message ?? "");
  return node.log("web-1");
}

/** A folder in memory, as /run is on most machines. */
function aMemoryFolder(): ReturnType<typeof aTemporaryDirectory> {
  return aTemporaryDirectory("/dev/shm");
}

suite("secrets of a process", (test) => {
  test("are files of the application's user and variables, and can be read by nobody else in there", async () => {
    const { source, asked } = aSource();
    await using node = await aNode({ secrets: source });
    const output = await untilExit(
      node,
      "cat /run/secrets/db; echo; echo $DB_PASSWORD; stat -c '%u:%g:%a' /run/secrets/db /etc/app/plain.conf; cat /etc/app/plain.conf; " +
        "echo x >> /run/secrets/db || echo read-only; grep -c '/run/secrets/db tmpfs ro,nosuid,nodev' /proc/self/mounts",
      { user: "www" },
    );
    assert.match(
      output,
      new RegExp(`^${VALUE}\n${VALUE}\n33:33:400\n33:33:444\nlisten 80\n.*read-only\n1\n`, "s"),
    );
    assert.equal(asked, ["default/db/1"], "one question for the file and the variable");
  });

  test("are in no file, argument or environment of the host", async () => {
    const { source } = aSource();
    await using node = await aNode({ secrets: source });
    node.assign(anAssignment("exec sleep 600", { spec }));
    const { pid } = await node.until("web-1", ({ state }) => state === "running");
    const { dataDirectory, runDirectory } = node.config;
    const found = execFileSync("sh", [
      "-c",
      `grep -rl -e 'battery' '${dataDirectory}' '${runDirectory}' || true`,
    ]).toString();
    assert.is(found, "");
    // Of the host's own processes: those that are not in the container, as this test's own memory is not looked at.
    const environments = readdirSync("/proc").filter((name) => {
      if (!/^\d+$/.test(name) || name === String(pid) || !existsSync(`/proc/${name}/environ`))
        return false;
      try {
        const text =
          readFileSync(`/proc/${name}/environ`) + readFileSync(`/proc/${name}/cmdline`, "utf8");
        return text.includes("battery") && statSync(`/proc/${name}`).uid === 0;
      } catch {
        return false;
      }
    });
    assert.equal(environments, []);
  });

  test("are remembered: a process that crashed starts again while the controller is away", async () => {
    const scene = aSource();
    await using node = await aNode({ secrets: scene.source });
    node.assign(anAssignment("exec sleep 600", { spec }));
    const { pid = 0 } = await node.until("web-1", ({ state }) => state === "running");
    scene.isAway = true;
    process.kill(pid, "SIGKILL");
    await node.until("web-1", (report) => report.state === "running" && report.pid !== pid);
    assert.is(scene.asked.length, 1);
  });

  test("outlive the agent where its run-time files are in memory, and go when nothing needs them", async () => {
    await using memory = aMemoryFolder();
    const scene = aSource();
    await using node = await aNode({
      secrets: scene.source,
      environment: { STRATA_RUN: memory.path },
    });
    node.assign(anAssignment("exec sleep 600", { spec }));
    const { pid = 0 } = await node.until("web-1", ({ state }) => state === "running");
    const { secrets } = agentPaths(node.config);
    assert.is(statSync(join(secrets, "default.db.1")).mode & 0o777, 0o600);
    scene.isAway = true;
    await node.restart(() => process.kill(pid, "SIGKILL"));
    await node.until("web-1", (report) => report.state === "running" && report.pid !== pid);
    assert.is(scene.asked.length, 1);
    const { stdout } = await anExec(node, { command: ["sh", "-c", "echo $DB_PASSWORD"] }).result;
    assert.is(stdout, `${VALUE}\n`, "a command has the variable, too");
    node.assign();
    await node.untilForgotten("web-1");
    assert.equal(readdirSync(secrets), []);
  });

  test("that cannot be had hold a start up, and say so", async () => {
    const scene = aSource();
    scene.isAway = true;
    await using node = await aNode({ secrets: scene.source });
    node.assign(anAssignment("exec sleep 600", { spec }));
    const { problem, state } = await node.until("web-1", (report) => report.problem !== undefined);
    assert.is(problem?.code, "SECRET_UNAVAILABLE");
    assert.match(problem?.message ?? "", /version 1 of secret db/);
    assert.is.not(state, "failed", "it is tried again");
  });

  test("of several lines cannot be variables", async () => {
    const source: SecretSource = async () => Buffer.from("one\nlxc.hook.pre-start = /bin/false");
    await using node = await aNode({ secrets: source });
    node.assign(anAssignment("true", { spec }));
    const { problem, state } = await node.until("web-1", (report) => report.problem !== undefined);
    assert.is(problem?.code, "SECRET_UNFIT");
    assert.not.match(problem?.message ?? "", /lxc.hook/);
    assert.is(state, "failed");
  });
});
