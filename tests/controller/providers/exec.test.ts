import {
  chmodSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from "node:fs";
import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";

import { ProviderError } from "@strata/controller/providers/errors";
import { createExecProvider, ExecSettings } from "@strata/controller/providers/exec";
import type { Provider } from "@strata/controller/providers/provider";

import { providerContract, type ProviderFixture } from "../../contract/provider.ts";
import { aVmRequest } from "../../support/machines/vm-request.ts";
import { assert, rejectsWithCode, suite } from "../../support/suite.ts";
import { aTemporaryDirectory } from "../../support/temporary.ts";

const sample = resolve(import.meta.dirname, "../../../examples/providers/host-pool.sh");
const never = new AbortController().signal;

/** The sample with four hosts that are folders here, reached by a shell instead of ssh. */
async function aHostPool(): Promise<ProviderFixture> {
  const folder = aTemporaryDirectory();
  const hosts = ["host-1", "host-2", "host-3", "host-4"];
  for (const host of hosts) await mkdir(join(folder.path, "hosts", host), { recursive: true });
  writeFileSync(join(folder.path, "hosts.txt"), `# our rack\n${hosts.join("\n")}`);
  const connect = join(folder.path, "connect");
  writeFileSync(connect, `#!/bin/sh\ncd "${folder.path}/hosts/$1" && shift && exec "$@"\n`);
  chmodSync(connect, 0o755);
  const settings = ExecSettings.parse({
    kind: "exec",
    command: [sample],
    env: {
      POOL_HOSTS: join(folder.path, "hosts.txt"),
      POOL_STATE: join(folder.path, "state"),
      POOL_CONNECT: connect,
    },
  });
  return {
    connect: (controllerId) => createExecProvider({ controllerId, settings }),
    request: (changes) =>
      aVmRequest({ firstBoot: { files: [], script: "touch joined\n" }, ...changes }),
    killFromOutside: async (id) =>
      renameSync(join(folder.path, "hosts", id), join(folder.path, id)),
    leftovers: async () =>
      existsSync(join(folder.path, "state")) ? readdirSync(join(folder.path, "state/leases")) : [],
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

providerContract("exec with examples/providers/host-pool.sh", aHostPool);

/** A provider whose program is this shell script. */
function aProgram(script: string, timeout: string | number = 20): Provider {
  const settings = ExecSettings.parse({
    kind: "exec",
    command: ["/bin/sh", "-c", script],
    timeout,
  });
  return createExecProvider({ controllerId: "controller-a", settings });
}

suite("the exec provider", (test) => {
  test("lends every host of the sample's pool once, then says that none is left", async () => {
    await using pool = await aHostPool();
    const provider = pool.connect("controller-a");
    const vms = await Promise.all([1, 2, 3, 4].map(() => provider.create(pool.request(), never)));
    assert.equal(
      vms.map((vm) => vm.state),
      ["running", "running", "running", "running"],
    );
    assert.is(new Set(vms.map((vm) => vm.id)).size, 4);
    await rejectsWithCode(provider.create(pool.request(), never), "PROVIDER_CAPACITY");
  });

  test("hands the program the request with both forms of the first boot, and nothing of our environment", async () => {
    await using folder = aTemporaryDirectory();
    const seen = join(folder.path, "seen");
    const provider = aProgram(
      `cat > ${seen}; env > ${seen}.env; echo '{"error": {"code": "quota", "message": "no"}}'`,
    );
    process.env["STRATA_TEST_SECRET"] = "not for programs";
    const request = aVmRequest({ firstBoot: { files: [], script: "echo joined\n" } });
    await rejectsWithCode(provider.create(request, never), "PROVIDER_QUOTA");
    const question = JSON.parse(readFileSync(seen, "utf8"));
    assert.is(question.protocol, 1);
    assert.is(question.action, "create");
    assert.is(question.controllerId, "controller-a");
    assert.equal(question.request.flavor, request.flavor);
    assert.match(question.request.userData, /^#cloud-config\n/);
    assert.match(question.request.script, /^#!\/bin\/sh\n/);
    assert.is(question.request.firstBoot, undefined);
    assert.not.match(readFileSync(`${seen}.env`, "utf8"), /STRATA_TEST_SECRET/);
  });

  for (const [code, word, retryable] of [
    ["PROVIDER_QUOTA", "quota", true],
    ["PROVIDER_CAPACITY", "capacity", true],
    ["PROVIDER_AUTH", "auth", false],
    ["PROVIDER_UNREACHABLE", "unreachable", true],
    ["PROVIDER_INVALID", "invalid", false],
    ["PROVIDER_TIMEOUT", "timeout", true],
    ["PROVIDER_FAILED", "failed", true],
  ] as const) {
    test(`takes the program's error ${word} as ${code}, whatever its exit code`, async () => {
      const provider = aProgram(`echo '{"error": {"code": "${word}", "message": "m"}}'; exit 3`);
      const error = await rejectsWithCode(provider.list(never), code);
      assert.ok(error instanceof ProviderError);
      assert.is(error.message, "m");
      assert.is(error.retryable, retryable);
    });
  }

  test("reports a program that failed with its code and last line, without control characters", async () => {
    const provider = aProgram(`printf 'first\\nno \\033[31mroute\\n' >&2; exit 7`);
    const error = await rejectsWithCode(provider.list(never), "PROVIDER_FAILED");
    assert.is(error.message, "/bin/sh ended with 7: no  [31mroute");
  });

  test("refuses an answer that is not of the protocol and names the field", async () => {
    await rejectsWithCode(aProgram("echo hello").list(never), "PROVIDER_FAILED");
    const error = await rejectsWithCode(
      aProgram(`echo '{"vms": [{"id": "a", "state": "up"}]}'`).list(never),
      "PROVIDER_FAILED",
    );
    assert.match(error.message, /vms\[0\]\.controllerId/);
  });

  test("refuses a creation that the program answered with somebody else's VM", async () => {
    const vm = `{"id": "a", "controllerId": "controller-b", "clientToken": "t", "partition": "p", "state": "running"}`;
    const provider = aProgram(`echo '{"vm": ${vm}}'`);
    await rejectsWithCode(
      provider.create(aVmRequest({ clientToken: "t" }), never),
      "PROVIDER_INVALID",
    );
  });

  test("ends a program that takes too long, with all that it started", async () => {
    await using folder = aTemporaryDirectory();
    const pids = join(folder.path, "pids");
    // The child ignores TERM: only the kill of the group ends it.
    const provider = aProgram(
      `sh -c 'trap "" TERM; echo $$ >> ${pids}; sleep 600 & wait; sleep 600' & echo $$ >> ${pids}; wait`,
      "300ms",
    );
    await rejectsWithCode(provider.list(never), "PROVIDER_TIMEOUT");
    const started = readFileSync(pids, "utf8").trim().split("\n").map(Number);
    assert.is(started.length, 2);
    for (const pid of started) await untilDead(pid);
  });

  test("ends a program that says more than it may", async () => {
    await rejectsWithCode(aProgram("yes").list(never), "PROVIDER_FAILED");
  });

  test("ends what the program left behind in its group", async () => {
    await using folder = aTemporaryDirectory();
    const pidFile = join(folder.path, "pid");
    const provider = aProgram(`sleep 600 & echo $! > ${pidFile}; echo '{"vms": []}'`);
    assert.equal(await provider.list(never), []);
    await untilDead(Number(readFileSync(pidFile, "utf8")));
  });

  test("does not wait for what left the group with the output still open", async () => {
    await using folder = aTemporaryDirectory();
    const pidFile = join(folder.path, "pid");
    const left = `setsid sh -c 'echo $$ > ${pidFile}; exec sleep 600' &`;
    const provider = aProgram(`${left} while ! [ -s ${pidFile} ]; do :; done; echo '{"vms": []}'`);
    assert.equal(await provider.list(never), []);
    process.kill(Number(readFileSync(pidFile, "utf8")), "SIGKILL");
  });

  test("is ended by its signal, with the signal's reason", async () => {
    const controller = new AbortController();
    const reason = new Error("stop");
    const listing = aProgram("sleep 600").list(controller.signal);
    controller.abort(reason);
    try {
      await listing;
      assert.unreachable();
    } catch (error) {
      assert.is(error, reason);
    }
  });

  test("says what to do when the program does not exist", async () => {
    const settings = ExecSettings.parse({ kind: "exec", command: ["/no/such/program"] });
    const provider = createExecProvider({ controllerId: "a", settings });
    const error = await rejectsWithCode(provider.list(never), "PROVIDER_INVALID");
    assert.ok(error instanceof ProviderError);
    assert.match(error.hint ?? "", /\/no\/such\/program exists/);
  });
});

/** A killed process closes its files, which ends the call, before the kernel shows it as dead. What nobody killed lives
 * ten minutes, well past the suite's deadline. */
async function untilDead(pid: number): Promise<void> {
  while (isAlive(pid)) await nextTurn();
}

function isAlive(pid: number): boolean {
  try {
    // A zombie that nobody reaped yet is dead too.
    return !/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}
