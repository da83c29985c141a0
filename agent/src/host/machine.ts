import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { arch, availableParallelism, hostname, release, totalmem } from "node:os";

import type { Capacity } from "@strata/protocol/agent/messages";

import { readMachineLimits } from "../cgroup/machine-limits.ts";
import { type CgroupMounts, readCgroupMounts } from "../cgroup/mounts.ts";
import { AgentError } from "../errors.ts";

export type Machine = {
  readonly name: string;
  readonly architecture: "amd64" | "arm64";
  readonly kernel: string;
  /** The address that this machine uses towards the controller. */
  readonly address: string;
  readonly capacity: Capacity;
};

const NAME_LENGTH_MAX = 63;
const CONNECT_MS_MAX = 10_000;

export async function describeMachine(controller: URL): Promise<Machine> {
  return {
    name: fitName(hostname()),
    architecture: requireArchitecture(),
    kernel: release(),
    address: await findOwnAddress(controller),
    capacity: readCapacity(),
  };
}

/** Read once: every report asks, the list grows with each container, and these do not move while the agent runs. */
let mounts: CgroupMounts | undefined;

/** What the whole machine has; what it needs for itself is the partition policy's headroom. */
export function readCapacity(): Capacity {
  mounts ??= readCgroupMounts();
  const limits = readMachineLimits(mounts);
  const pidMax = Number(readFileSync("/proc/sys/kernel/pid_max", "utf8"));
  return {
    cpuMillis: Math.min(availableParallelism() * 1000, limits.cpuMillis),
    memoryBytes: Math.min(totalmem(), limits.memoryBytes),
    pids: Math.min(pidMax, limits.pids),
  };
}

/** @throws AgentError HOST_UNFIT */
export function requireArchitecture(): "amd64" | "arm64" {
  const name = arch();
  if (name === "x64") return "amd64";
  if (name === "arm64") return "arm64";
  throw new AgentError("HOST_UNFIT", `this agent does not run on ${name}`);
}

/** A host name as the name of a resource: one label of RFC 1123. */
export function fitName(text: string): string {
  const label = (text.split(".")[0] ?? "")
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]/g, "-")
    .slice(0, NAME_LENGTH_MAX)
    .replaceAll(/^-+|-+$/g, "");
  return label === "" ? "node" : label;
}

/** @throws AgentError CONTROLLER_UNREACHABLE */
function findOwnAddress({ hostname: host, port, protocol }: URL): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const socket = connect({
    host: host.replaceAll(/[[\]]/g, ""),
    port: Number(port) || (protocol === "https:" ? 443 : 80),
    timeout: CONNECT_MS_MAX,
  });
  const fail = (cause?: unknown): void => {
    socket.destroy();
    reject(
      new AgentError("CONTROLLER_UNREACHABLE", `nobody answers at ${host}`, {
        cause,
        retryable: true,
        hint: "check the address, the port and firewalls in between",
      }),
    );
  };
  socket.once("connect", () => {
    resolve(socket.localAddress ?? "127.0.0.1");
    socket.destroy();
  });
  socket.once("timeout", () => fail());
  socket.once("error", fail);
  return promise;
}
