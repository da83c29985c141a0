import type { ProbeInput } from "@strata/protocol/api/probes";

import type { ProbeWish, ProbeWishes } from "../domain/probes.ts";

type Inputs = {
  readonly health?: ProbeInput | undefined;
  readonly startup?: ProbeInput | undefined;
  readonly liveness?: ProbeInput | undefined;
};

/** The probes of a PUT. What was not asked for is left out: stored ones are compared field by field. */
export function toProbeWishes({ health, startup, liveness }: Inputs): ProbeWishes {
  return {
    health: health === undefined ? null : toProbeWish(health),
    ...(startup === undefined ? {} : { startup: toProbeWish(startup) }),
    ...(liveness === undefined ? {} : { liveness: toProbeWish(liveness) }),
  };
}

function toProbeWish(input: ProbeInput): ProbeWish {
  if (input.kind === "none") return input;
  const { interval, timeout, failureThreshold } = input;
  const successThreshold = "successThreshold" in input ? input.successThreshold : undefined;
  const timing = {
    intervalMs: interval,
    timeoutMs: timeout,
    failureThreshold,
    ...(successThreshold === undefined ? {} : { successThreshold }),
  };
  switch (input.kind) {
    case "http": {
      const { kind, port, path, headers } = input;
      return { kind, port, path, ...timing, ...(headers === undefined ? {} : { headers }) };
    }
    case "tcp":
      return { kind: input.kind, port: input.port, ...timing };
    case "exec":
      return { kind: input.kind, command: input.command, ...timing };
    default:
      return input satisfies never;
  }
}
