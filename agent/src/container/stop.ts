import { setTimeout as delay } from "node:timers/promises";

import type { Cgroups } from "../cgroup/cgroups.ts";
import { isAlive, type ProcessIdentity, sendSignal } from "../host/process-table.ts";
import { findInit } from "./find-application.ts";
import type { Supervisor } from "./supervisor.ts";

const SIGKILL = 9;
/** After a KILL the kernel takes a container down in milliseconds; a process in a broken device may take for ever. */
const KILL_WAIT_MS = 10_000;
/** How soon a change of the grace period counts. */
const GRACE_LOOK_MS = 500;
const SWEEP_ATTEMPTS = 100;
const SWEEP_WAIT_MS = 20;

export type StopRequest = {
  readonly processId: string;
  readonly supervisor: Supervisor;
  readonly application: ProcessIdentity | undefined;
  readonly stopSignal: number;
  /** Asked again and again: a newer wish may shorten what is under way. */
  readonly graceMs: () => number;
  /** Called when the grace period is over, before the KILL. */
  readonly onKill: () => void;
};

/** Ends a container: its stop signal, the grace period, then KILL. */
export async function stopContainer(cgroups: Cgroups, request: StopRequest): Promise<void> {
  const { processId, supervisor, application, stopSignal, graceMs, onKill } = request;
  // A frozen one hears no signal, and in cgroup v1 not even a KILL ends it.
  cgroups.thaw(processId);
  const target =
    application !== undefined && isAlive(application)
      ? application.pid
      : findInit(cgroups, processId);
  if (target !== undefined) sendSignal(target, stopSignal);
  const beganMs = performance.now();
  const leftMs = (): number => beganMs + graceMs() - performance.now();
  do {
    if (await endsWithin(supervisor, Math.min(GRACE_LOOK_MS, Math.max(0, leftMs())))) return;
  } while (leftMs() > 0);
  onKill();
  killContainer(cgroups, processId);
  await endsWithin(supervisor, KILL_WAIT_MS);
}

/** Kills pid 1 of the container, and with it all the others. LXC and the supervisor then end by themselves. */
function killContainer(cgroups: Cgroups, processId: string): void {
  const init = findInit(cgroups, processId);
  if (init !== undefined) sendSignal(init, SIGKILL);
}

/** Ends what an application left behind when its first process ended: lxc-init would wait for it. True when there was
 * nothing to end. */
export function endOrphans(cgroups: Cgroups, processId: string): boolean {
  const init = findInit(cgroups, processId);
  const orphans = cgroups.listContainerPids(processId).filter((pid) => pid !== init);
  for (const pid of orphans) sendSignal(pid, SIGKILL);
  return orphans.length === 0;
}

/** Kills whatever is left of a run and removes its groups. True when nothing is left. */
export async function sweepRun(cgroups: Cgroups, processId: string): Promise<boolean> {
  for (let attempt = 0; attempt < SWEEP_ATTEMPTS; attempt += 1) {
    if (cgroups.remove(processId)) return true;
    cgroups.thaw(processId);
    for (const pid of cgroups.listAllPids(processId)) sendSignal(pid, SIGKILL);
    await delay(SWEEP_WAIT_MS);
  }
  return false;
}

/** One timer for the whole wait, cleared when the supervisor is first. */
async function endsWithin(supervisor: Supervisor, ms: number): Promise<boolean> {
  const timer = new AbortController();
  try {
    return await Promise.race([
      supervisor.gone.then(() => true),
      delay(ms, false, { signal: timer.signal }),
    ]);
  } finally {
    timer.abort();
  }
}
