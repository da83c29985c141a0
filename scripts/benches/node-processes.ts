import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

import { openCgroups } from "@strata/agent/cgroup/open-cgroups";
import { ProcessRecord } from "@strata/agent/container/record";

import type { Instance } from "../instance/instance.ts";
import { readCpu, readMemory } from "./process-figures.ts";

export type Start = {
  /** When its turn had come and the agent made the run's folder. Milliseconds since 1970. */
  readonly beganMs: number;
  readonly runningMs: number;
};

/** What an installation's agent has on this machine, by its own files and the kernel's. */
export type NodeProcesses = {
  /** Of every process that runs. */
  readonly starts: () => readonly Start[];
  /** From the last order that the agent took in to the moment when it saw the process run; its clock has steps of
   * some 4 ms for the first of both. Of the one process whose name begins so. */
  readonly orderToRunMs: (name: string) => number;
  /** Processes with a container or what is left of one. */
  readonly count: () => number;
  /** What one process takes beyond its application: mean over all of them, proportional share. */
  readonly overheadKib: () => number;
  readonly agentRssMib: () => number;
  /** Processor time of the agent and of the programs that it ran to their end. */
  readonly agentCpuMs: () => number;
};

export function nodeProcesses({ data, run }: Instance): NodeProcesses {
  const records = join(data, "agent/processes");
  const runs = join(run, "agent/runs");
  const agentPid = readFileSync(join(run, "agent.pid"), "utf8").trim();
  const cgroups = openCgroups(readFileSync(join(data, "agent/machine-id"), "utf8").trim());
  const running = (): readonly ProcessRecord[] =>
    readdirSync(records)
      .map((id) => join(records, id, "record.json"))
      .filter((path) => existsSync(path))
      .map((path) => ProcessRecord.parse(JSON.parse(readFileSync(path, "utf8"))))
      .filter((record) => record.run?.application !== undefined);
  return {
    starts: () =>
      running().map(({ assignment, run: life }) => ({
        beganMs: statSync(join(runs, assignment.processId)).birthtimeMs,
        runningMs: life?.startedAtMs ?? Number.NaN,
      })),
    orderToRunMs: (name) => {
      const found = running().find(({ assignment }) => assignment.processId.startsWith(name));
      const orderedMs = statSync(join(data, "agent/desired.json")).mtimeMs;
      return (found?.run?.startedAtMs ?? Number.NaN) - orderedMs;
    },
    count: () => readdirSync(runs).length,
    overheadKib: () =>
      meanOf(
        running().map(({ assignment, run: life }) =>
          sumOf(
            cgroups
              .listAllPids(assignment.processId)
              .filter((pid) => pid !== life?.application?.pid)
              .map(readPssKib),
          ),
        ),
      ),
    agentRssMib: () => readMemory(agentPid).nowMib,
    agentCpuMs: () => readCpu(agentPid).withChildrenMs,
  };
}

/** Of one process; its share of what it has in common with others. 0 when it is gone. */
export function readPssKib(pid: number): number {
  try {
    return Number(
      /^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1],
    );
  } catch {
    return 0;
  }
}

export function meanOf(figures: readonly number[]): number {
  return sumOf(figures) / figures.length;
}

export function sumOf(figures: readonly number[]): number {
  return figures.reduce((sum, figure) => sum + figure, 0);
}
