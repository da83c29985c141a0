import { join } from "node:path";

import type { AgentConfig } from "./config.ts";
import { ingressPaths, type IngressPaths } from "./ingress/ingress-paths.ts";

/** Where the agent keeps what. Data outlives a reboot; run-time files belong to one boot of the kernel. */
export type AgentPaths = {
  readonly data: string;
  readonly run: string;
  readonly identity: string;
  readonly machineId: string;
  /** How far the last upgrade of the agent is. */
  readonly upgrade: string;
  /** Made by a new agent on trial. */
  readonly upgradeProof: string;
  /** The last assignments that were taken in. */
  readonly desired: string;
  /** What this node knows of the network. */
  readonly network: string;
  readonly images: string;
  readonly processes: string;
  /** Named volumes: a folder for each tenant, in it one for each volume. */
  readonly volumes: string;
  /** Of each volume the highest fence that was seen, in a folder for each tenant. */
  readonly volumeFences: string;
  readonly seccompProfile: string;
  /** Of system containers. */
  readonly systemSeccompProfile: string;
  readonly runs: string;
  /** Values of secrets, where run-time files are in memory. */
  readonly secrets: string;
  readonly ingress: IngressPaths;
  /** Of the node's name server. */
  readonly names: string;
};

export function agentPaths({ dataDirectory, runDirectory }: AgentConfig): AgentPaths {
  return {
    data: dataDirectory,
    run: runDirectory,
    identity: join(dataDirectory, "identity.json"),
    machineId: join(dataDirectory, "machine-id"),
    upgrade: join(dataDirectory, "upgrade.json"),
    upgradeProof: join(dataDirectory, "upgrade-proof"),
    desired: join(dataDirectory, "desired.json"),
    network: join(dataDirectory, "network.json"),
    images: join(dataDirectory, "images"),
    processes: join(dataDirectory, "processes"),
    volumes: join(dataDirectory, "volumes"),
    volumeFences: join(dataDirectory, "volume-fences"),
    seccompProfile: join(runDirectory, "seccomp"),
    systemSeccompProfile: join(runDirectory, "seccomp-system"),
    runs: join(runDirectory, "runs"),
    secrets: join(runDirectory, "secrets"),
    ingress: ingressPaths(join(runDirectory, "ingress"), dataDirectory),
    names: join(runDirectory, "names"),
  };
}

/** The files of one process. Ids of processes are labels of RFC 1123, checked when an assignment is taken in. */
export type ProcessPaths = {
  readonly folder: string;
  readonly record: string;
  readonly log: string;
  /** Upper and work folder of the overlay, new for each run. */
  readonly scratch: string;
  /** One run's exchange with its supervisor. */
  readonly run: string;
  readonly exit: string;
};

export function processPaths(paths: AgentPaths, processId: string): ProcessPaths {
  const folder = join(paths.processes, processId);
  const run = join(paths.runs, processId);
  return {
    folder,
    record: join(folder, "record.json"),
    log: join(folder, "log"),
    scratch: join(folder, "scratch"),
    run,
    exit: join(run, "exit"),
  };
}
