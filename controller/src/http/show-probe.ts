import type { ProbeShown } from "@strata/protocol/api/probes";

import type { ProbeWish } from "../domain/probes.ts";

/** As a PUT takes it again; null for none. */
export function showProbe(probe: ProbeWish | null | undefined): ProbeShown | null {
  if (probe === null || probe === undefined) return null;
  if (probe.kind === "none") return { ...probe };
  const { intervalMs, timeoutMs, failureThreshold, successThreshold } = probe;
  const timing = {
    interval: intervalMs / 1000,
    timeout: timeoutMs / 1000,
    failureThreshold,
    ...(successThreshold === undefined ? {} : { successThreshold }),
  };
  switch (probe.kind) {
    case "http": {
      const { kind, port, path, headers } = probe;
      return { kind, port, path, ...timing, ...(headers === undefined ? {} : { headers }) };
    }
    case "tcp":
      return { kind: probe.kind, port: probe.port, ...timing };
    case "exec":
      return { kind: probe.kind, command: [...probe.command], ...timing };
    default:
      return probe satisfies never;
  }
}
