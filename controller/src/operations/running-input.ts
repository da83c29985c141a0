import type { IoLimits, Limits, Volume } from "@strata/protocol/agent/messages";
import type { CartridgeInput, FileInput, VolumeInput } from "@strata/protocol/api/resources";
import type { z } from "zod";

import type { Running, WantedFile } from "../domain/running.ts";
import { toProbeWishes } from "./probe-input.ts";

type RunningInput = Pick<
  z.output<typeof CartridgeInput>,
  | "command"
  | "args"
  | "env"
  | "user"
  | "workingDir"
  | "ports"
  | "health"
  | "startup"
  | "liveness"
  | "resources"
  | "stopGrace"
  | "readOnly"
  | "init"
  | "volumes"
  | "files"
  | "secretEnv"
>;

/** The part of a PUT that says how to run, with every field there: null where nothing was said. */
export function toRunning(input: RunningInput): Running {
  const { resources } = input;
  return {
    command: input.command ?? null,
    args: input.args ?? null,
    env: input.env,
    user: input.user ?? null,
    workingDir: input.workingDir ?? null,
    ports: input.ports ?? null,
    ...toProbeWishes(input),
    limits: resources === undefined ? null : toLimits(resources),
    stopGraceMs: input.stopGrace ?? null,
    ...(input.readOnly === undefined ? {} : { readOnly: input.readOnly }),
    ...(input.init === undefined ? {} : { init: input.init }),
    ...(input.volumes === undefined ? {} : { volumes: input.volumes.map(toVolume) }),
    ...(input.files === undefined ? {} : { files: input.files.map(toFile) }),
    ...(input.secretEnv === undefined ? {} : { secretEnv: input.secretEnv }),
  };
}

type ResourcesInput = NonNullable<RunningInput["resources"]>;

/** What was not asked for is left out: stored limits are compared field by field. */
function toLimits(resources: ResourcesInput): Limits {
  const { memory, cpu, pids, memoryHigh, swap, cpuWeight, io } = resources;
  return {
    memoryMaxBytes: memory,
    cpuMaxMillis: cpu,
    pidsMax: pids,
    ...(memoryHigh === undefined ? {} : { memoryHighBytes: memoryHigh }),
    ...(swap === undefined ? {} : { swapMaxBytes: swap }),
    ...(cpuWeight === undefined ? {} : { cpuWeight }),
    ...(io === undefined ? {} : { io: toIoLimits(io) }),
  };
}

function toIoLimits(io: NonNullable<ResourcesInput["io"]>): IoLimits {
  const { weight, readPerSecond, writePerSecond, readOpsPerSecond, writeOpsPerSecond } = io;
  return {
    ...(weight === undefined ? {} : { weight }),
    ...(readPerSecond === undefined ? {} : { readBytesPerSecond: readPerSecond }),
    ...(writePerSecond === undefined ? {} : { writeBytesPerSecond: writePerSecond }),
    ...(readOpsPerSecond === undefined ? {} : { readOpsPerSecond }),
    ...(writeOpsPerSecond === undefined ? {} : { writeOpsPerSecond }),
  };
}

function toVolume(input: z.output<typeof VolumeInput>): Volume {
  if ("tmpfs" in input) return { kind: "tmpfs", path: input.path, sizeBytes: input.tmpfs };
  const { path, readOnly = false } = input;
  return "name" in input
    ? {
        kind: "named",
        name: input.name,
        path,
        readOnly,
        ...(input.shared === undefined ? {} : { shared: input.shared }),
      }
    : { kind: "host", source: input.hostPath, path, readOnly };
}

const FILE_MODE = 0o400;

function toFile(input: z.output<typeof FileInput>): WantedFile {
  const { path, mode } = input;
  return {
    path,
    mode: mode === undefined ? FILE_MODE : Number.parseInt(mode, 8),
    content: "text" in input ? { text: input.text } : { secret: input.secret },
  };
}
