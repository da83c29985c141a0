import { createHash } from "node:crypto";
import { open, rm } from "node:fs/promises";
import { arch } from "node:os";

import { getErrorCode } from "@strata/protocol/errors";
import { type Dispatcher, request } from "undici";

import { AgentError } from "../errors.ts";

export type FetchOptions = {
  readonly controllerUrl: string;
  readonly dispatcher: Dispatcher;
  /** Lower-case hex; other bytes are refused. */
  readonly sha256: string;
  readonly path: string;
};

const PROGRAM_BYTES_MAX = 512 * 1024 * 1024;
const FETCH_MS_MAX = 10 * 60_000;

/** Fetches the agent for this machine into `path`, executable and safe from a loss of power. Leaves no file when it
 * fails.
 * @throws AgentError UPGRADE_REFUSED for a broken download, a full disk or other bytes than were asked for */
export async function fetchProgram(options: FetchOptions): Promise<void> {
  const { path, sha256 } = options;
  try {
    const found = await download(options);
    if (found !== sha256) {
      throw refused(`the program that came has SHA-256 ${found}, not ${sha256}`);
    }
  } catch (cause) {
    await rm(path, { force: true }).catch(() => undefined);
    if (cause instanceof AgentError) throw cause;
    throw refused(`the program could not be fetched: ${describe(cause)}`, cause);
  }
}

async function download({ controllerUrl, dispatcher, path }: FetchOptions): Promise<string> {
  const platform = `linux-${arch() === "arm64" ? "arm64" : "amd64"}`;
  const signal = AbortSignal.timeout(FETCH_MS_MAX);
  const url = new URL(`/v1/agent/${platform}`, controllerUrl);
  const { statusCode, body } = await request(url, { dispatcher, signal });
  if (statusCode !== 200) {
    await body.dump();
    throw refused(`the controller answered ${statusCode} for the program`);
  }
  // One that was left by an earlier try may still be run by somebody.
  await rm(path, { force: true });
  await using file = await open(path, "wx", 0o755);
  const hash = createHash("sha256");
  let size = 0;
  for await (const chunk of body) {
    const bytes = Buffer.from(chunk);
    size += bytes.length;
    if (size > PROGRAM_BYTES_MAX) throw refused(`more than ${PROGRAM_BYTES_MAX} bytes came`);
    hash.update(bytes);
    await file.writeFile(bytes);
  }
  await file.sync();
  return hash.digest("hex");
}

function describe(cause: unknown): string {
  return getErrorCode(cause) ?? (cause instanceof Error ? cause.message : String(cause));
}

function refused(message: string, cause?: unknown): AgentError {
  return new AgentError("UPGRADE_REFUSED", message, {
    cause,
    hint: "the present agent goes on; put right what the reason names, then ask for the upgrade again",
  });
}
