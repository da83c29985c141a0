import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
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

/** The same, but killed so long after the first layer was taken out. True when it was still at work. */
export async function killWhileRemoving(removal: Removal, afterMs: number): Promise<boolean> {
  const { child, ended } = startRemoval(removal);
  const isAtWork = (): boolean =>
    list(join(removal.directory, "incoming")).some((name) => name.startsWith("trash-"));
  while (!isAtWork() && child.exitCode === null && child.signalCode === null) await delay(1);
  if (afterMs >= 1) await Promise.race([delay(afterMs), ended]);
  child.kill("SIGKILL");
  await ended;
  return isAtWork();
}

type RunningRemoval = {
  readonly child: ChildProcess;
  readonly ended: Promise<unknown[]>;
};

function startRemoval({ directory, digests }: Removal): RunningRemoval {
  const child = spawn(process.execPath, [program, directory, ...digests], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  return { child, ended: once(child, "exit") };
}
