/** Health probes that run a command inside the container. */
import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { arch } from "node:os";
import { setTimeout as delay } from "node:timers/promises";

import type { ExecProbe } from "@strata/protocol/agent/probes";

import type { Cgroups } from "../cgroup/cgroups.ts";
import { probeScript } from "../host/probe-script.ts";
import { sendSignal } from "../host/process-table.ts";
import { startPiped, waitForEnd } from "../host/run-tool.ts";
import { processPaths } from "../paths.ts";
import { attachCommand, writeAttachConfig } from "./attach.ts";
import type { Answer } from "./health-state.ts";
import type { ProbeName } from "./probe-plan.ts";
import type { StartContext } from "./start.ts";

export type CommandQuestion = {
  readonly processId: string;
  readonly name: ProbeName;
  readonly probe: ExecProbe;
};

const SIGKILL = 9;
const KILL_ATTEMPTS = 50;
const KILL_WAIT_MS = 20;
/** Of its output the end is kept, and of that the last line. */
const OUTPUT_BYTES_MAX = 4096;
const LINE_LENGTH_MAX = 200;

/** Runs the command with the user, environment, limits and restrictions of the application. It is killed at its timeout,
 * or when the signal says so, and with it all that it started; what it leaves behind is killed too. Never rejects. */
export async function askCommand(
  context: StartContext,
  question: CommandQuestion,
  signal: AbortSignal,
): Promise<Answer> {
  const { processId, name } = question;
  try {
    // Another life of the agent may have been in the middle of one.
    if (!(await killProbe(context.cgroups, { processId, name })))
      return { isWell: false, why: "the command before this one cannot be killed" };
    return await runProbe(context, question, signal);
  } catch (error) {
    return { isWell: false, why: error instanceof Error ? error.message : String(error) };
  }
}

async function runProbe(
  context: StartContext,
  { processId, name, probe }: CommandQuestion,
  signal: AbortSignal,
): Promise<Answer> {
  const { cgroups, lxcPath, paths } = context;
  const { command, timeoutMs } = probe;
  const groups = cgroups.probeFiles(processId, name);
  if (groups === undefined) return { isWell: false, why: "the container is gone" };
  const { run } = processPaths(paths, processId);
  const attach = attachCommand(
    { processId, lxcPath, command, keepsGroups: true },
    // Written anew for each command, and gone with the run.
    { run, config: writeAttachConfig(run, { id: `probe-${name}`, env: {} }) },
  );
  const script = ["-e", probeScript, "--", arch(), ...groups, "--"];
  const child = startPiped("/usr/bin/perl", [...script, ...attach]);
  const end = await watchCommand(child, { timeoutMs, signal }, () =>
    killProbe(cgroups, { processId, name }),
  );
  return describeEnd(end, timeoutMs);
}

type CommandEnd = { readonly code: number | "late"; readonly output: string };
type Limits = { readonly timeoutMs: number; readonly signal: AbortSignal };

/** Resolves once nothing of the command is left, or when what is left cannot be killed. */
async function watchCommand(
  child: ChildProcessWithoutNullStreams,
  { timeoutMs, signal }: Limits,
  kill: () => Promise<boolean>,
): Promise<CommandEnd> {
  const { promise: exited, resolve } = Promise.withResolvers<"exited">();
  child.once("exit", () => resolve("exited"));
  // Of a program that could not be started it is the only one that says anything.
  const closed = waitForEnd(child, "lxc-attach");
  closed.catch(() => undefined);
  child.stdin.on("error", () => undefined).end();
  const output = keepTail(child);
  const stop = new AbortController();
  const late = delay(timeoutMs, "late", { signal: AbortSignal.any([signal, stop.signal]) });
  const first = await Promise.race([exited, closed, late.catch(() => "late")]);
  stop.abort();
  if (first === "late") child.kill("SIGKILL");
  const isGone = await kill();
  // Its output ends when the last of what it started is gone.
  if (isGone && first !== "late") return { code: await closed, output: output() };
  child.stdout.destroy();
  child.stderr.destroy();
  return { code: "late", output: output() };
}

/** Keeps the last octets of both outputs, so that a command which writes without end holds nothing up. */
function keepTail({ stdout, stderr }: ChildProcessWithoutNullStreams): () => string {
  let kept = Buffer.alloc(0);
  for (const stream of [stdout, stderr]) {
    stream.on("error", () => undefined);
    stream.on("data", (chunk: Buffer) => {
      kept = Buffer.concat([kept, chunk.subarray(-OUTPUT_BYTES_MAX)]).subarray(-OUTPUT_BYTES_MAX);
    });
  }
  return () => kept.toString("utf8");
}

function describeEnd({ code, output }: CommandEnd, timeoutMs: number): Answer {
  if (code === 0) return { isWell: true };
  const said = lastLine(output);
  const how =
    code === "late"
      ? `the command did not end within ${timeoutMs / 1000} s`
      : `the command ended with ${code}`;
  return { isWell: false, why: said === "" ? how : `${how}: ${said}` };
}

/** What a container writes is shown to people: it must not move their cursor. */
function lastLine(output: string): string {
  const lines = output.split(/[\r\n]+/).map((line) => line.replaceAll(/\p{C}/gu, " ").trim());
  return (lines.findLast((line) => line !== "") ?? "").slice(0, LINE_LENGTH_MAX);
}

/** Kills all that came of the probe. False when something of it stays. */
async function killProbe(
  cgroups: Cgroups,
  { processId, name }: Pick<CommandQuestion, "processId" | "name">,
): Promise<boolean> {
  for (let attempt = 0; attempt < KILL_ATTEMPTS; attempt += 1) {
    const pids = cgroups.listProbePids(processId, name);
    if (pids.length === 0) return true;
    for (const pid of pids) sendSignal(pid, SIGKILL);
    await delay(KILL_WAIT_MS);
  }
  return false;
}
