/** What the controller wants of one agent under test: a few processes, of changing images, that come and go. */
import type { Assignment, Exit } from "@strata/protocol/agent/messages";
import { parseDigest } from "@strata/protocol/oci/digest";

import { anAssignment } from "../../agent/support/an-assignment.ts";

/** A way in which the test ends an application, and what the agent must say of it. */
export type Ending = {
  readonly signal: NodeJS.Signals;
  readonly exit: Pick<Exit, "code" | "reason">;
};

export const endings: readonly Ending[] = [
  { signal: "SIGUSR1", exit: { code: 7, reason: "exited" } },
  { signal: "SIGUSR2", exit: { code: 137, reason: "out-of-memory" } },
  { signal: "SIGKILL", exit: { code: 137, reason: "signaled" } },
  { signal: "SIGSEGV", exit: { code: 139, reason: "signaled" } },
];

/** What the stop of a process must come to. */
export const stopExits = {
  obedient: { code: 0, reason: "exited" },
  stubborn: { code: 137, reason: "signaled" },
} as const satisfies Readonly<Record<string, Pick<Exit, "code" | "reason">>>;

export type Temper = keyof typeof stopExits;

/** One process as the test knows it. */
export type Slot = {
  readonly processId: string;
  wish: Assignment | undefined;
  temper: Temper;
  /** Of the last assignment; generation, fence and part of its mark. */
  serial: number;
  /** The application of this wish, once it was seen: it stays the same. */
  pid: number | undefined;
  /** What the agent has to say of its end, where that is certain. */
  exit: Ending["exit"] | undefined;
  /** The test has ended it: no other wish until the agent has said how it ended. */
  isEnded: boolean;
};

export function newSlot(processId: string): Slot {
  return {
    processId,
    wish: undefined,
    temper: "obedient",
    serial: 0,
    pid: undefined,
    exit: undefined,
    isEnded: false,
  };
}

/** The last word of the command of a slot's application: finds it among all processes of the machine. */
export function markOf(key: string, { processId, serial }: Slot): string {
  return `${key}-${processId}-${serial}`;
}

const MEMORY_MAX_BYTES = 24 * 1024 ** 2;
const traps =
  "trap 'exit 7' USR1; trap 'exec dd if=/dev/zero of=/dev/null bs=64M' USR2; echo ready-$0";
/** `wait` ends at a signal, at once; what sleeps in the background is left behind by every end. */
const loop = "while :; do sleep 3600 & wait $!; done";
const scripts: Readonly<Record<Temper, string>> = {
  obedient: `trap 'exit 0' TERM; ${traps}; ${loop}`,
  stubborn: `trap '' TERM; ${traps}; ${loop}`,
};

export type Wish = {
  readonly key: string;
  readonly digest: string;
  readonly temper: Temper;
  /** Publishes a port. */
  readonly isServer: boolean;
};

/** Wants another process in the slot, under a new assignment. */
export function wishRunning(slot: Slot, { key, digest, temper, isServer }: Wish): void {
  slot.serial += 1;
  slot.temper = temper;
  slot.pid = undefined;
  slot.exit = undefined;
  slot.wish = anAssignment("", {
    id: `${slot.processId}-${slot.serial}`,
    processId: slot.processId,
    generation: slot.serial,
    fence: slot.serial,
    spec: {
      image: { repository: "app", digest: parseDigest(digest) },
      command: ["sh", "-c", scripts[temper], markOf(key, slot)],
      ports: isServer ? [{ name: "http", containerPort: 80, protocol: "tcp" }] : [],
      limits: { memoryMaxBytes: MEMORY_MAX_BYTES, cpuMaxMillis: 1000, pidsMax: 32 },
      // The obedient need none of it, however busy the machine is.
      stopGraceMs: temper === "stubborn" ? 300 : 60_000,
    },
  });
}

/** Wants it stopped but not forgotten. An application that `isReady` is known to obey its signal or not. */
export function wishStopped(slot: Slot, { isReady }: { readonly isReady: boolean }): void {
  if (slot.wish?.desired !== "running") return;
  slot.serial += 1;
  slot.pid = undefined;
  slot.exit = isReady ? stopExits[slot.temper] : undefined;
  slot.wish = { ...slot.wish, fence: slot.serial, desired: "stopped" };
}

/** Wants nothing of it any more. */
export function wishGone(slot: Slot): void {
  slot.pid = undefined;
  slot.exit = undefined;
  slot.isEnded = false;
  slot.wish = undefined;
}
