import { rm } from "node:fs/promises";
import { isAbsolute, normalize } from "node:path";

/** Deletes a folder and all in it; one that is not there is fine. Never a file system root nor a folder right under one. */
export async function removeTree(path: string): Promise<void> {
  const depth = normalize(path)
    .split("/")
    .filter((part) => part !== "").length;
  if (!isAbsolute(path) || depth < 2)
    throw new Error(`${path} is too near the root to delete it whole`);
  await rm(path, { recursive: true, force: true, maxRetries: 3 });
}
