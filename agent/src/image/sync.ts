import { runTool } from "../host/run-tool.ts";

/** Ample for a slow disk with gigabytes of dirty pages. */
const SYNC_TIMEOUT_MS = 10 * 60_000;

/** Writes everything of the file system that holds `directory` to its disk. Callers that come while one sync runs
 * share the next one: layers that finish together cost one sync. */
export function createFileSystemSync(directory: string): () => Promise<void> {
  let running: Promise<void> | undefined;
  let next: Promise<void> | undefined;
  const start = async (): Promise<void> => {
    // Even when the sync before failed, this one must run.
    await running?.catch(() => undefined);
    running = next;
    next = undefined;
    await runTool("sync", ["-f", directory], { timeoutMs: SYNC_TIMEOUT_MS });
  };
  return () => (next ??= start());
}
