import type { CartridgeInput } from "@strata/protocol/api/resources";
import type { z } from "zod";

import type { Running } from "../domain/running.ts";

type RunningInput = Pick<
  z.output<typeof CartridgeInput>,
  | "command"
  | "args"
  | "env"
  | "user"
  | "workingDir"
  | "ports"
  | "health"
  | "resources"
  | "stopGrace"
>;

/** The part of a PUT that says how to run, with every field there: null where nothing was said. */
export function toRunning(input: RunningInput): Running {
  const { health, resources } = input;
  return {
    command: input.command ?? null,
    args: input.args ?? null,
    env: input.env,
    user: input.user ?? null,
    workingDir: input.workingDir ?? null,
    ports: input.ports ?? null,
    health:
      health === undefined
        ? null
        : {
            kind: health.kind,
            port: health.port,
            path: health.path,
            intervalMs: health.interval,
            timeoutMs: health.timeout,
            failureThreshold: health.failureThreshold,
          },
    limits:
      resources === undefined
        ? null
        : {
            memoryMaxBytes: resources.memory,
            cpuMaxMillis: resources.cpu,
            pidsMax: resources.pids,
          },
    stopGraceMs: input.stopGrace ?? null,
  };
}
