import type { ProcessMetrics } from "@strata/protocol/agent/messages";

import type { Cgroups } from "../cgroup/cgroups.ts";
import type { TrafficCounters } from "../network/network.ts";

/** What a running process uses now, from the kernel's own files. Undefined when it is gone. */
export function readMetrics(
  cgroups: Cgroups,
  processId: string,
  traffic: TrafficCounters | undefined,
): ProcessMetrics | undefined {
  const usage = cgroups.readUsage(processId);
  return (
    usage && {
      ...usage,
      networkRxBytes: traffic?.rxBytes ?? 0,
      networkTxBytes: traffic?.txBytes ?? 0,
    }
  );
}
