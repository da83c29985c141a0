import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);
const PEER_TIMEOUT_MS = 120_000;

/** Runs a peer's program to its end; gives what it printed. Fails with what it said. */
export async function runPeer(program: string, ...args: readonly string[]): Promise<string> {
  const { stdout } = await run(program, args, {
    timeout: PEER_TIMEOUT_MS,
    maxBuffer: 64 * 1024 * 1024,
  });
  return stdout;
}
