import { closeSync, openSync, readSync, statSync, watch } from "node:fs";

import { getErrorCode } from "@strata/protocol/errors";

import { AgentError } from "../errors.ts";
import { runTool } from "../host/run-tool.ts";

/** The log of a process is one file that its supervisor appends to. Old blocks are given back to the disk by punching a
 * hole at the front: nothing is copied, byte offsets never change, and whoever follows never meets a gap. What is kept
 * begins at the first byte that is on the disk, which the file itself knows: no second record can disagree with it. */

/** The file system gives back whole blocks. */
const BLOCK_BYTES = 4096;
const CHUNK_BYTES = 64 * 1024;
/** A follower also looks this often, where the file system does not tell of changes. */
const LOOK_MS = 1000;

/** Frees the front of the file so that at most `bytesMax` stay. Quick when there is nothing to do. */
export async function trimLog(path: string, bytesMax: number): Promise<void> {
  const stat = statSync(path, { throwIfNoEntry: false });
  // Blocks count 512 bytes. A quarter of slack, or every look would punch a few blocks.
  if (stat === undefined || stat.blocks * 512 <= bytesMax * 1.25) return;
  const cut = Math.floor((stat.size - bytesMax) / BLOCK_BYTES) * BLOCK_BYTES;
  if (cut <= 0) return;
  await runTool("fallocate", ["--punch-hole", "--offset", "0", "--length", String(cut), path]);
}
