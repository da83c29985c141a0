import { rm } from "node:fs/promises";

/** Deletes a folder with all that it holds; one that is not there is gone already. */
export async function removeTree(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true, maxRetries: 3 });
}
