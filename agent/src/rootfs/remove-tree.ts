import { runTool } from "../host/run-tool.ts";

/** Deletes folders and all in them; one that is not there is fine. Runs rm, because a container may leave paths that
 * are longer than a path name may be; rm descends by folder handle, follows no link and stays on one file system. */
export async function removeTree(...paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    if (!path.startsWith("/") || path.split("/").filter((part) => part !== "").length < 3) {
      throw new Error(`${path} is too near the root to delete it whole`);
    }
  }
  if (paths.length === 0) return;
  await runTool("rm", ["-rf", "--one-file-system", "--", ...paths], { timeoutMs: 10 * 60_000 });
}
