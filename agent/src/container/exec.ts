import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { rmSync } from "node:fs";
import type { Duplex } from "node:stream";
import { pipeline } from "node:stream/promises";

import type { StreamRequest } from "@strata/protocol/agent/messages";
import { encodeFrame, type Frame } from "@strata/protocol/agent/stream";
import { z } from "zod";

import type { Cgroups } from "../cgroup/cgroups.ts";
import { execScript } from "../host/exec-script.ts";
import { getParentPid, sendSignal } from "../host/process-table.ts";
import { startPiped, waitForEnd } from "../host/run-tool.ts";
import { getSignalNumber } from "../host/signals.ts";
import { processPaths } from "../paths.ts";
import { attachCommand, writeAttachConfig } from "./attach.ts";
import { takeFrames, toFrames, writeHeld } from "./frames.ts";
import type { StartContext } from "./start.ts";

export type ExecRequest = Extract<StreamRequest, { kind: "exec" }>;

const SIGKILL = 9;
/** A client that is gone is noticed by what is sent to it, even while its input waits for a command that reads none. */
const ALIVE_MS = 10_000;
const TERMINAL = "xterm-256color";

/** Runs a command inside the container of a process, with the ids, environment, limits and restrictions of its
 * application. Frames of `connection` become its input, its output frames; the last one is its exit code. Ends the
 * command when the connection ends.
 * @throws AgentError NOT_RUNNING, CONTAINER_CONFIG_INVALID */
export async function exec(
  context: StartContext,
  request: ExecRequest,
  connection: Duplex,
): Promise<void> {
  const { run } = processPaths(context.paths, request.processId);
  const { id, tty, env } = request;
  const config = writeAttachConfig(run, { id, env: { ...(tty && { TERM: TERMINAL }), ...env } });
  try {
    const child = startPiped("/usr/bin/perl", [
      "-e",
      execScript,
      "--",
      tty ? "tty" : "pipe",
      ...attachCommand({ ...request, lxcPath: context.lxcPath }, { run, config }),
    ]);
    const code = await converse(context.cgroups, request, { child, connection });
    connection.write(encodeFrame("exit", { code }));
  } finally {
    rmSync(config, { force: true });
  }
}

type Ends = { readonly child: ChildProcessWithoutNullStreams; readonly connection: Duplex };

async function converse(
  cgroups: Cgroups,
  { processId, tty }: ExecRequest,
  { child, connection }: Ends,
): Promise<number> {
  const signal = (number: number): void => {
    for (const pid of findAttached(cgroups, processId, { keeper: child.pid, tty }))
      sendSignal(pid, number);
  };
  const hangUp = (): void => {
    child.stdin.end();
    if (!tty) signal(SIGKILL);
  };
  child.stdin.on("error", () => undefined);
  takeFrames(connection, (frame) => takeFrame(frame, { child, tty, signal, connection }));
  connection.once("close", hangUp);
  // After the client's last word the output still goes out; an end without a word is a client that is gone.
  connection.once("end", hangUp);
  const alive = setInterval(() => {
    if (connection.writable && !connection.writableNeedDrain)
      connection.write(encodeFrame("stdout"));
  }, ALIVE_MS);
  try {
    const ended = waitForEnd(child, "lxc-attach");
    await Promise.all([
      pipeline(child.stdout, toFrames("stdout"), connection, { end: false }),
      pipeline(child.stderr, toFrames("stderr"), connection, { end: false }),
    ]).catch(hangUp);
    return await ended;
  } finally {
    clearInterval(alive);
  }
}

type FrameTarget = Ends & { readonly tty: boolean; readonly signal: (number: number) => void };

/** With a terminal the frames go on as they are, but for signals: the terminal's keeper reads them. */
function takeFrame(frame: Frame, { child, tty, signal, connection }: FrameTarget): void {
  if (tty && frame.type !== "signal") {
    writeHeld(child.stdin, encodeFrame(frame.type, frame.payload), connection);
    return;
  }
  if (frame.type === "stdin") writeHeld(child.stdin, frame.payload, connection);
  if (frame.type === "stdinEnd") child.stdin.end();
  if (frame.type === "signal") {
    const number = getSignalNumber(parseSignal(frame.payload));
    if (number !== undefined) signal(number);
  }
}

function parseSignal(payload: Buffer): string {
  const parsed = z.object({ signal: z.string() }).safeParse(JSON.parse(payload.toString("utf8")));
  return parsed.data?.signal ?? "";
}

type Attached = { readonly keeper: number | undefined; readonly tty: boolean };

/** What lxc-attach started in the container: its children there. A terminal's keeper stands above lxc-attach; without one
 * it has become lxc-attach itself. */
function findAttached(
  cgroups: Cgroups,
  processId: string,
  { keeper, tty }: Attached,
): readonly number[] {
  return cgroups.listContainerPids(processId).filter((pid) => {
    const parent = getParentPid(pid);
    const above = tty && parent !== undefined ? getParentPid(parent) : parent;
    return keeper !== undefined && above === keeper;
  });
}
