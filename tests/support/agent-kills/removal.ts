import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { list } from "./observe.ts";

const program = fileURLToPath(new URL("remove-images.ts", import.meta.url));

export type Removal = {
  /** The image store of an agent that does not run. */
  readonly directory: string;
  readonly digests: readonly string[];
};

/** Removes images and what no image needs, as garbage collection does. */
export async function removeImages(removal: Removal): Promise<void> {
  const [status] = await startRemoval(removal).ended;
  if (status !== 0) throw new Error(`the removal of images ended with ${String(status)}`);
}

/** The same, but killed so long after it has begun. True when it was still at work. */
export async function killWhileRemoving(removal: Removal, afterMs: number): Promise<boolean> {
  const { child, ended } = startRemoval(removal);
  await Promise.race([once(child.stdout, "data"), ended]);
  await Promise.race([delay(afterMs), ended]);
  child.kill("SIGKILL");
  await ended;
  return list(join(removal.directory, "incoming")).some((name) => name.startsWith("trash-"));
}

type RunningRemoval = {
  readonly child: ChildProcessByStdio<null, Readable, null>;
  readonly ended: Promise<unknown[]>;
};

function startRemoval({ directory, digests }: Removal): RunningRemoval {
  const child = spawn(process.execPath, [program, directory, ...digests], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  return { child, ended: once(child, "exit") };
}
