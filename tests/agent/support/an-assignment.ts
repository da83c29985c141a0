import type { Assignment, ProcessSpec } from "@strata/protocol/agent/messages";
import { parseDigest } from "@strata/protocol/oci/digest";

type Wishes = Partial<Omit<Assignment, "spec">> & { readonly spec?: Partial<ProcessSpec> };

/** An assignment that runs `sh -c SCRIPT` in the busybox image, or whatever `spec` says instead. */
export function anAssignment(script: string, { spec, ...wishes }: Wishes = {}): Assignment {
  const processId = wishes.processId ?? "web-1";
  return {
    id: `assignment-of-${processId}`,
    processId,
    generation: 1,
    fence: 1,
    desired: "running",
    startDeadline: "2100-01-01T00:00:00Z",
    ...wishes,
    spec: {
      tenant: "default",
      subscription: "web",
      cartridge: "busybox",
      image: { repository: "busybox", digest: parseDigest(`sha256:${"a".repeat(64)}`) },
      command: ["sh", "-c", script],
      env: {},
      ports: [],
      limits: { memoryMaxBytes: 64 * 1024 ** 2, cpuMaxMillis: 1000, pidsMax: 64 },
      stopGraceMs: 5000,
      ...spec,
    },
  };
}
