import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { arch } from "node:os";
import type { Duplex } from "node:stream";
import { pipeline } from "node:stream/promises";

import type { StreamRequest } from "@strata/protocol/agent/messages";
import { encodeFrame } from "@strata/protocol/agent/stream";

import { AgentError, type AgentErrorCode } from "../errors.ts";
import { copyInScript } from "../host/copy-in-script.ts";
import { copyOutScript } from "../host/copy-out-script.ts";
import { identifyProcess } from "../host/process-table.ts";
import { startPiped, waitForEnd } from "../host/run-tool.ts";
import { findInit } from "./find-application.ts";
import { takeFrames, toFrames, writeHeld } from "./frames.ts";
import type { StartContext } from "./start.ts";

type CopyOutRequest = Extract<StreamRequest, { kind: "copyOut" }>;
type CopyInRequest = Extract<StreamRequest, { kind: "copyIn" }>;

/** A helper whose input was cut off takes away what it has half written; then it is ended. */
const TIDY_MS = 5000;
const REASON_BYTES_MAX = 16 * 1024;

/** Sends a file or folder of a running container as a tar archive in `stdout` frames, then `exit`. What a hostile
 * container does meanwhile reaches its own files alone: `host/enter-script.ts` says why.
 * @throws AgentError NOT_RUNNING, PATH_NOT_FOUND, PATH_UNUSABLE, STREAM_FAILED */
export async function copyOut(
  context: StartContext,
  { processId, path }: CopyOutRequest,
  connection: Duplex,
): Promise<void> {
  const child = startHelper(context, processId, { script: copyOutScript, wishes: [path] });
  const cut = (): void => void child.kill("SIGKILL");
  child.stdin.end();
  connection.once("close", cut);
  connection.once("end", cut);
  // Nothing is expected from the other side, but its end is only noticed while somebody reads.
  connection.resume();
  const reason = collectReason(child);
  const ended = waitForEnd(child, "perl");
  await pipeline(child.stdout, toFrames("stdout"), connection, { end: false }).catch(cut);
  await requireSuccess(ended, reason);
  connection.write(encodeFrame("exit", { code: 0 }));
}

/** Unpacks the tar archive that comes in `stdin` frames into a running container. Answers with how much it was: one
 * `stdout` frame of "ENTRIES BYTES SKIPPED", then `exit`.
 * @throws AgentError NOT_RUNNING, PATH_NOT_FOUND, PATH_UNUSABLE, ARCHIVE_INVALID, STREAM_FAILED */
export async function copyIn(
  context: StartContext,
  { processId, path, top }: CopyInRequest,
  connection: Duplex,
): Promise<void> {
  const wishes = top === undefined ? [path] : [path, top];
  const child = startHelper(context, processId, { script: copyInScript, wishes });
  let timer: NodeJS.Timeout | undefined;
  const cut = (): void => {
    child.stdin.end();
    timer ??= setTimeout(() => void child.kill("SIGKILL"), TIDY_MS);
  };
  child.stdin.on("error", () => undefined);
  connection.once("close", cut);
  connection.once("end", cut);
  takeFrames(connection, ({ type, payload }) => {
    if (type === "stdin" && child.stdin.writable) writeHeld(child.stdin, payload, connection);
    if (type === "stdinEnd") child.stdin.end();
  });
  const reason = collectReason(child);
  const ended = waitForEnd(child, "perl");
  await pipeline(child.stdout, toFrames("stdout"), connection, { end: false }).catch(cut);
  await requireSuccess(ended, reason).finally(() => {
    clearTimeout(timer);
    // What still comes is for nobody.
    connection.resume();
  });
  connection.write(encodeFrame("exit", { code: 0 }));
}

type Helper = { readonly script: string; readonly wishes: readonly string[] };

/** @throws AgentError NOT_RUNNING */
function startHelper(
  { cgroups }: StartContext,
  processId: string,
  { script, wishes }: Helper,
): ChildProcessWithoutNullStreams {
  const pid = findInit(cgroups, processId);
  const init = pid === undefined ? undefined : identifyProcess(pid);
  if (init === undefined) throw new AgentError("NOT_RUNNING", "the container is gone");
  const place = [String(init.pid), String(init.startTicks), ...cgroups.toolFiles(processId)];
  return startPiped("/usr/bin/perl", ["-e", script, "--", arch(), ...place, "--", ...wishes]);
}

/** The last line of its standard error. */
async function collectReason({ stderr }: ChildProcessWithoutNullStreams): Promise<string> {
  let text = "";
  for await (const chunk of stderr) text = (text + String(chunk)).slice(-REASON_BYTES_MAX);
  return text.trim().split("\n").at(-1) ?? "";
}

const codes: readonly AgentErrorCode[] = [
  "NOT_RUNNING",
  "PATH_NOT_FOUND",
  "PATH_UNUSABLE",
  "ARCHIVE_INVALID",
];

async function requireSuccess(ended: Promise<number>, reason: Promise<string>): Promise<void> {
  const [code, text] = await Promise.all([ended, reason]);
  if (code === 0) return;
  const [, name, why] = /^([A-Z_]+) (.*)$/.exec(text) ?? [];
  throw new AgentError(
    codes.find((known) => known === name) ?? "STREAM_FAILED",
    why ?? (text === "" ? `the copy was ended (${code})` : text),
  );
}
