/** The life of a process, written down once for controller and agent.
 *
 * pending    placed or waiting for a place; nothing has happened on a node
 * pulling    the node fetches and unpacks the image
 * starting   the container is being made, or waits for its next start after a crash
 * running    the application runs
 * draining   it runs, takes no new work and will be stopped
 * suspect    its node is silent; it may well run (the controller's view only)
 * stopped    it was told to stop and has ended, or runs once and ended well
 * failed     it cannot be started, or ended for good */
export const processStates = [
  "pending",
  "pulling",
  "starting",
  "running",
  "draining",
  "suspect",
  "stopped",
  "failed",
] as const;
export type ProcessState = (typeof processStates)[number];

/** The legal moves. A report of a state that is not reachable is an old one and changes nothing.
 * `running` → `starting` is a crash that the crash policy answers with a restart. */
export const processTransitions: Readonly<Record<ProcessState, readonly ProcessState[]>> = {
  pending: ["pulling", "starting", "running", "draining", "suspect", "stopped", "failed"],
  pulling: ["starting", "running", "draining", "suspect", "stopped", "failed"],
  starting: ["pulling", "running", "draining", "suspect", "stopped", "failed"],
  running: ["starting", "draining", "suspect", "stopped", "failed"],
  draining: ["running", "suspect", "stopped", "failed"],
  suspect: ["pulling", "starting", "running", "draining", "stopped", "failed"],
  stopped: [],
  failed: ["stopped"],
};

export function canTransition(from: ProcessState, to: ProcessState): boolean {
  return from === to || processTransitions[from].includes(to);
}

/** Ended: holds no memory, no address and no port on its node. */
export function isTerminal(state: ProcessState): boolean {
  return state === "stopped" || state === "failed";
}
