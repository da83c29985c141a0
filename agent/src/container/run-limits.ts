/** The limits of a container that runs. */
import type { Limits } from "@strata/protocol/agent/messages";
import { CodedError, getErrorCode } from "@strata/protocol/errors";

import type { Cgroups } from "../cgroup/cgroups.ts";
import type { ProcessServices } from "./process-services.ts";
import type { RecordKeeper } from "./record-keeper.ts";
import type { ProcessRecord } from "./record.ts";

export type RunLimitsOptions = {
  readonly services: ProcessServices;
  readonly keeper: RecordKeeper;
};

/** Gives a container the limits of its assignment. False when it keeps those that it has; the record says why. */
export async function resizeRun({ services, keeper }: RunLimitsOptions): Promise<boolean> {
  const { run, assignment } = keeper.record;
  const { processId, spec } = assignment;
  const { limits } = spec;
  const { cgroups } = services.start;
  try {
    await cgroups.resize(processId, limits);
  } catch (error) {
    services.logger.warn({ err: error, process: processId }, "limits were refused");
    keeper.save({ problem: describeRefusal(error) });
    return false;
  }
  keeper.save({
    ...(run && { run: { ...run, spec: { ...run.spec, limits } } }),
    problem: describeShortfall(cgroups, limits),
  });
  return true;
}

/** What of the shares is without effect on this host. */
export function describeShortfall(cgroups: Cgroups, limits: Limits): ProcessRecord["problem"] {
  const message = cgroups.describeShortfall(limits);
  return message === undefined ? undefined : { code: "LIMIT_UNSUPPORTED", message };
}

function describeRefusal(error: unknown): ProcessRecord["problem"] {
  const message =
    error instanceof CodedError
      ? error.message
      : `the kernel refused the new limits: ${getErrorCode(error) ?? "unknown"}`;
  return { code: "RESIZE_REFUSED", message };
}
