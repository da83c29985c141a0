import { execFile, spawn } from "node:child_process";
import { statSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

import { root } from "../../scripts/root.ts";
import { aRunningInstance, mustBecome, type RunningInstance } from "../support/running-instance.ts";
import { assert, suite } from "../support/suite.ts";

type Ran = { readonly status: number; readonly stdout: string; readonly stderr: string };

/** The program as people start it, found by its own means: root on the controller's machine needs no login. */
async function strata({ instance }: RunningInstance, ...args: readonly string[]): Promise<Ran> {
  return runProgram(args, { ...process.env, ...instance.settings });
}

async function runProgram(args: readonly string[], env: NodeJS.ProcessEnv): Promise<Ran> {
  try {
    return { status: 0, ...(await promisify(execFile)(join(root, "strata"), args, { env })) };
  } catch (error) {
    const { code, stdout, stderr } = Object(error);
    return { status: Number(code), stdout: String(stdout), stderr: String(stderr) };
  }
}

const prompt = /[#$] /;

/** Runs a command line on a terminal of its own, types `keys`, and gives back all that the terminal showed. */
async function onTerminal(
  { instance }: RunningInstance,
  line: string,
  keys: string,
): Promise<{ readonly status: number | null; readonly screen: string }> {
  const command = `stty rows 33 cols 99; ${join(root, "strata")} ${line}; echo "[status $?]"; stty -a`;
  const env = { ...process.env, ...instance.settings, TERM: "xterm" };
  const child = spawn("script", ["-qec", command, "/dev/null"], { env });
  let screen = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    // Typed when the prompt is there: what is typed before belongs to the shell outside.
    if (!prompt.test(screen) && prompt.test(screen + text)) child.stdin.write(keys);
    screen += text;
  });
  const status = await new Promise<number | null>((resolve) => child.on("close", resolve));
  return { status, screen };
}

/** A person at another machine: nothing but what `login` stored, and the address that serves TLS. */
async function remotely({ scratch }: RunningInstance, ...args: readonly string[]): Promise<Ran> {
  const env = { PATH: process.env["PATH"], HOME: scratch, STRATA_DATA: join(scratch, "none") };
  return runProgram(args, env);
}

/** Over TLS, trusting the CA whose fingerprint ends every join token, and no other. */
async function logIn(running: RunningInstance): Promise<void> {
  const { instance, scratch } = running;
  const url = `https://127.0.0.1:${instance.settings["STRATA_PORT"]}`;
  const token = (await strata(running, "node", "join-token", "local", "-q")).stdout.trim();
  const fingerprint = token.split(".").at(-1) ?? "";
  const login = ["login", url, "--token-file", join(instance.data, "admin-token")];
  const wrong = await remotely(running, ...login, "--ca-fingerprint", "0".repeat(64));
  assert.is(wrong.status, 2);
  assert.match(wrong.stderr, `has the fingerprint ${fingerprint}, not`);
  const unasked = await remotely(running, ...login);
  assert.match(unasked.stderr, "the controller's CA is not trusted");
  const right = await remotely(running, ...login, "--ca-fingerprint", fingerprint);
  assert.is(right.status, 0, right.stderr);
  const { mode } = statSync(join(scratch, ".config/strata/config.json"));
  assert.is(mode & 0o777, 0o600);
  assert.is((await remotely(running, "get", "partitions", "-o", "name")).stdout, "local\n");
}

suite("the command line against a running installation", (test) => {
  test(
    "shows, scales, logs, runs commands and gives a real terminal",
    async () => {
      await using running = await aRunningInstance();
      const scaled = await strata(running, "scale", "hello", "2", "--wait");
      assert.is(scaled.status, 0, scaled.stderr);
      const ids = (await running.readyProcesses("hello", 2)).map(({ id }) => id);
      const listed = await strata(running, "get", "processes", "-o", "name");
      assert.equal(listed.stdout.trim().split("\n").toSorted(), ids.toSorted());

      const [id = ""] = ids;
      await mustBecome("both have said hello", async () => {
        const logs = await strata(running, "logs", "hello");
        return (
          ids.every((each) => logs.stdout.includes(`${each} | hello: ${each} listens`)) || undefined
        );
      });

      const ran = await strata(
        running,
        "exec",
        id,
        "--",
        "sh",
        "-c",
        "hostname; echo bad >&2; exit 9",
      );
      assert.equal([ran.status, ran.stdout, ran.stderr], [9, `${id}\n`, "bad\n"]);

      const { screen } = await onTerminal(
        running,
        `exec -it ${id} -- sh`,
        "busybox stty size; busybox tty; exit 5\n",
      );
      assert.match(screen, "33 99");
      assert.match(screen, "/dev/pts/");
      assert.match(screen, "[status 5]");
      // The terminal is as it was: it echoes, and takes whole lines.
      assert.match(screen, / icanon /);
      assert.match(screen, / echo /);

      await logIn(running);

      const restarted = await strata(running, "restart", "hello", "--wait");
      assert.is(restarted.status, 0, restarted.stderr);
      const fresh = (await running.readyProcesses("hello", 2)).map((each) => each.id);
      assert.not.ok(fresh.some((each) => ids.includes(each)));
    },
    { timeoutMs: 300_000 },
  );
});
