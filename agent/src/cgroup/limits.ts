/** What both versions of control groups say about limits that they cannot hold. */
import type { Limits } from "@strata/protocol/agent/messages";
import { formatBytes } from "@strata/protocol/format-bytes";

import { AgentError } from "../errors.ts";

/** The share of who asks for none. */
export const DEFAULT_WEIGHT = 100;
/** Of a disk: BFQ knows no more. */
export const BFQ_WEIGHT_MAX = 1000;

export type HostAbilities = {
  readonly swap: () => boolean;
  /** Limits of bytes and operations on the disk of the agent's data. */
  readonly throttling: () => boolean;
};

/** A limit that does not hold is worse than a process that does not start; a share is not.
 * @throws AgentError LIMIT_UNSUPPORTED */
export function requireHoldable({ swapMaxBytes, io }: Limits, host: HostAbilities): void {
  if (swapMaxBytes !== undefined && swapMaxBytes > 0 && !host.swap()) {
    throw unsupported("swap", "boot it with swapaccount=1, or leave swap out");
  }
  if (hasIoLimit(io) && !host.throttling()) {
    throw unsupported(
      "io",
      "it takes the io controller (v1: blkio) and the agent's data on a disk; or leave the limits of io out",
    );
  }
}

function unsupported(name: string, hint: string): AgentError {
  return new AgentError("LIMIT_UNSUPPORTED", `this node cannot limit ${name}`, { hint });
}

function hasIoLimit(io: Limits["io"]): boolean {
  if (io === undefined) return false;
  const { weight: _, ...limits } = io;
  return Object.values(limits).some((limit) => limit !== undefined);
}

export function weightWithoutEffect(weight: number): string {
  return `io.weight ${weight} has no effect on this node: its disk is not scheduled by weight`;
}

export function tooMuchInUse(memoryMaxBytes: number, cause?: unknown): AgentError {
  return new AgentError(
    "RESIZE_REFUSED",
    `it uses more memory than the ${formatBytes(memoryMaxBytes)} that it is to have; its limits stay as they were`,
    {
      cause,
      retryable: true,
      hint: "it is tried again; a restart of the subscription gives it the new limits at once",
    },
  );
}
