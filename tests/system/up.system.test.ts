import { execFile } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { promisify } from "node:util";

import { ExecResult, listOf, Process } from "@strata/protocol/api/resources";

import { createApi } from "../../scripts/instance/api.ts";
import { type Instance, loadInstance } from "../../scripts/instance/instance.ts";
import { findFreePorts } from "../../scripts/instance/scratch.ts";
import { waitFor } from "../../scripts/instance/wait.ts";
import { root } from "../../scripts/root.ts";
import { observe } from "../../scripts/testing/leftovers.ts";
import { killDaemon, pageOf, urlOf } from "../support/running-instance.ts";
import { assert, suite } from "../support/suite.ts";
import { aTemporaryDirectory } from "../support/temporary.ts";

const run = promisify(execFile);
const WAIT = { timeoutMs: 30_000 };

type Installation = AsyncDisposable & {
  readonly instance: Instance;
  /** Runs one of the two commands as a person does; gives what it printed. */
  readonly script: (name: "up" | "down", ...args: readonly string[]) => Promise<string>;
};

async function anInstallation(): Promise<Installation> {
  const folder = aTemporaryDirectory();
  const data = join(folder.path, "data");
  const moved = { STRATA_DATA: data, STRATA_PORT: String(await findFreePorts()) };
  const script: Installation["script"] = async (name, ...args) => {
    const { stdout } = await run(join(root, "scripts", name), args, {
      env: { ...process.env, ...moved },
    });
    return stdout;
  };
  return {
    instance: loadInstance(moved),
    script,
    [Symbol.asyncDispose]: async () => {
      await script("down", "--purge");
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** The processes of hello, when as many as wanted are ready. */
async function readyProcesses(instance: Instance, count: number): Promise<readonly Process[]> {
  const api = createApi(instance);
  const found = await waitFor(async () => {
    const answer = await api("GET", "/v1/subscriptions/hello/processes").catch(() => undefined);
    const ready = listOf(Process)
      .safeParse(answer)
      .data?.items.filter((process) => process.ready && process.state === "running");
    return ready?.length === count ? ready : undefined;
  }, WAIT);
  if (found === undefined) throw new Error(`there were never ${count} processes ready`);
  return found;
}

suite("scripts/up and scripts/down", (test) => {
  test(
    "bring an installation up, keep it through crashes, and leave nothing behind",
    async () => {
      const marks: string[] = [];
      {
        await using installation = await anInstallation();
        const { instance, script } = installation;

        const first = await script("up");
        marks.push(...marksOf(instance));
        const [hello] = await readyProcesses(instance, 1);
        assert.match(first, urlOf(hello));
        assert.match(first, join(instance.data, "admin-token"));
        assert.match(await pageOf(urlOf(hello)), hello?.id ?? "no process");

        assert.match(await script("up"), "Nothing to change");
        assert.equal((await readyProcesses(instance, 1))[0]?.pid, hello?.pid);

        await killDaemon(instance, "agent");
        assert.match(await pageOf(urlOf(hello)), "Hello from");
        await waitForExec(instance, hello);
        const [adopted] = await readyProcesses(instance, 1);
        assert.equal(
          [adopted?.id, adopted?.pid, adopted?.startedAt, adopted?.restarts],
          [hello?.id, hello?.pid, hello?.startedAt, 0],
        );

        await createApi(instance)("POST", "/v1/subscriptions/hello/scale", { processes: 3 });
        await killDaemon(instance, "controller");
        const three = await readyProcesses(instance, 3);
        for (const process of three) assert.match(await pageOf(urlOf(process)), process.id);

        await script("down");
        await assertSilent(urlOf(hello));
        assert.match(await script("up"), "answers at");
        await readyProcesses(instance, 3);

        await script("down", "--purge");
        assert.not(existsSync(instance.data));
        assert.match(await script("down"), "nothing is set up");
      }
      const leftovers = (): readonly string[] =>
        [...observe("none")].filter((line) => marks.some((mark) => line.includes(mark)));
      await waitFor(() => Promise.resolve(leftovers().length === 0 ? true : undefined), WAIT);
      assert.equal(leftovers(), []);
    },
    { timeoutMs: 300_000 },
  );

  test(
    "take no other program on the port for their own controller",
    async () => {
      await using folder = aTemporaryDirectory();
      const data = join(folder.path, "data");
      const port = await findFreePorts();
      const other = createServer((_request, response) => response.end("ready"));
      other.listen(port + 1, "127.0.0.1");
      await once(other, "listening");
      const env = { ...process.env, STRATA_DATA: data, STRATA_PORT: String(port) };
      try {
        const failure: unknown = await run(join(root, "scripts/up"), { env }).catch(String);
        assert.match(String(failure), "EADDRINUSE");
        assert.match(String(failure), "set STRATA_PORT to another one");
        assert.not(existsSync(join(data, "run/controller.supervisor")), "it is left trying");
      } finally {
        other.close();
        await run(join(root, "scripts/down"), ["--purge"], { env });
      }
    },
    { timeoutMs: 120_000 },
  );

  test("explain what is in the way, and change nothing", async () => {
    await using folder = aTemporaryDirectory();
    mkdirSync(join(folder.path, "mine"));
    const failure: unknown = await run(join(root, "scripts/up"), {
      env: { ...process.env, STRATA_DATA: folder.path },
    }).catch((error: unknown) => error);
    assert.ok(failure instanceof Error && "stderr" in failure);
    assert.match(String(failure.stderr), "has files that are not ours");
    assert.match(String(failure.stderr), "point STRATA_DATA at a new or empty folder");
    assert.not(existsSync(join(folder.path, "instance.env")));
  });
});

/** Only a living agent runs a command inside: the one of before the kill cannot have done it. */
async function waitForExec(instance: Instance, process: Process | undefined): Promise<void> {
  const api = createApi(instance);
  const path = `/v1/processes/${process?.id}/exec`;
  const result = await waitFor(
    () => api("POST", path, { command: ["hostname"] }).catch(() => undefined),
    WAIT,
  );
  assert.is(ExecResult.parse(result).stdout.trim(), process?.id);
}

/** What everything that an installation makes on the machine has in its name: mounts, links, tables, control groups. */
function marksOf({ data, settings }: Instance): readonly string[] {
  const machineId = readFileSync(join(data, "agent/machine-id"), "utf8").trim();
  const { STRATA_BRIDGE: bridge = "" } = settings;
  assert.ok(machineId.length > 8 && bridge.length > 4, "the marks are too short to tell anything");
  return [data, bridge, machineId];
}

async function assertSilent(url: string): Promise<void> {
  const answer = await pageOf(url).catch(() => undefined);
  assert.is(answer, undefined, "a stopped process answered");
}
