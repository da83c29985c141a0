import { randomBytes } from "node:crypto";

import type { VmRequest } from "@strata/controller/providers/provider";

/** A request that is good for any provider, with a client token of its own. */
export function aVmRequest(changes: Partial<VmRequest> = {}): VmRequest {
  return {
    clientToken: `vm-${randomBytes(5).toString("hex")}`,
    partition: "php",
    flavor: {
      name: "small",
      cpuMillis: 1000,
      memoryBytes: 512 * 1024 ** 2,
      diskBytes: 4 * 1024 ** 3,
      options: {},
    },
    image: "debian-12",
    firstBoot: { files: [], script: "true\n" },
    labels: {},
    ...changes,
  };
}
