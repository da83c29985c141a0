/** Why a process is pending, waiting or failed. `code` is stable, for programs. */
export type Problem = { readonly code: string; readonly message: string };

/** What the processes of one subscription come to, as its status shows it. */
export type ProcessCounts = {
  readonly total: number;
  readonly running: number;
  readonly ready: number;
  readonly leaving: number;
  /** The first thing that keeps one of them from running. */
  readonly problem: Problem | undefined;
};

/** One sentence on why a subscription is not as wished; null when it is. */
export function statusMessage(
  wish: { readonly desired: number; readonly deleting: boolean; readonly held: boolean },
  counts: ProcessCounts,
): string | null {
  if (wish.deleting) return `being deleted: ${counts.total} processes left`;
  if (wish.held)
    return "nodes are silent in great number: replacements are held back until they return";
  if (counts.problem !== undefined) return `${counts.problem.message} (${counts.problem.code})`;
  if (counts.ready < wish.desired) return `${counts.ready} of ${wish.desired} processes are ready`;
  if (counts.leaving > 0) return `${counts.leaving} processes are stopping`;
  return null;
}
