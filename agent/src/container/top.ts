import { setTimeout as delay } from "node:timers/promises";

import {
  type Top,
  TOP_PROCESSES_MAX,
  type TopProcess,
  type TopState,
} from "@strata/protocol/agent/top";

import type { Cgroups } from "../cgroup/cgroups.ts";
import type { Clock } from "../clock.ts";
import { ID_RANGE_SIZE } from "../config.ts";
import { readProcFile } from "../host/process-table.ts";
import { runTool } from "../host/run-tool.ts";
import { readUptimeMs } from "./metrics.ts";

const SAMPLE_MS = 500;
/** USER_HZ, in which /proc counts, is 100 on every processor that we run on. */
const MS_PER_TICK = 10;
const COMMAND_BYTES_MAX = 512;
const COMMANDS_MS_MAX = 5000;
/** What `id`s that are none of the container's are shown as, as the kernel does it. */
const NOBODY = 65_534;

export type TopContext = {
  readonly cgroups: Cgroups;
  readonly clock: Clock;
  /** First host user id of the container. */
  readonly idBase: number;
};

/** What runs in a container, by pid, with what each used in half a second. Empty when the container is gone. */
export async function readTop(
  processId: string,
  { cgroups, clock, idBase }: TopContext,
): Promise<Top> {
  const pids = cgroups.listContainerPids(processId);
  const listed = pids.toSorted((one, other) => one - other).slice(0, TOP_PROCESSES_MAX);
  const [begunMs, before] = [readUptimeMs(), new Map(listed.map((pid) => [pid, readStat(pid)]))];
  const [commands] = await Promise.all([readCommands(listed), delay(SAMPLE_MS)]);
  const uptimeMs = readUptimeMs();
  const bootMs = clock() - uptimeMs;
  const processes = listed.flatMap((pid, index): TopProcess[] => {
    const [was, now] = [before.get(pid), readStat(pid)];
    const status = readStatus(pid, idBase);
    // Whatever has gone, and what came in by attaching and is not in the container's own list.
    if (was === undefined || now === undefined || status === undefined) return [];
    if (was.startTicks !== now.startTicks) return [];
    const usedMs = (now.usedTicks - was.usedTicks) * MS_PER_TICK;
    return [
      {
        ...status,
        state: now.state,
        cpuPercent: Math.round((1000 * usedMs) / Math.max(1, uptimeMs - begunMs)) / 10,
        threads: now.threads,
        startedAt: new Date(bootMs + now.startTicks * MS_PER_TICK).toISOString(),
        command: commands[index] || `[${now.name}]`,
      },
    ];
  });
  return { at: new Date(clock()).toISOString(), total: pids.length, processes };
}

type Stat = {
  readonly name: string;
  readonly state: TopState;
  readonly usedTicks: number;
  readonly threads: number;
  readonly startTicks: number;
};

/** proc_pid_stat(5). */
function readStat(pid: number): Stat | undefined {
  const text = readProcFile(`/proc/${pid}/stat`);
  if (text === undefined) return undefined;
  // The name may hold parentheses and blanks of its own.
  const end = text.lastIndexOf(")");
  const fields = text.slice(end + 2).split(" ");
  return {
    name: text.slice(text.indexOf("(") + 1, end),
    state: stateOf(fields[0] ?? ""),
    usedTicks: Number(fields[11]) + Number(fields[12]),
    threads: Number(fields[17]),
    startTicks: Number(fields[19]),
  };
}

function stateOf(letter: string): TopState {
  switch (letter) {
    case "R":
      return "running";
    case "D":
      return "waiting";
    case "T":
    case "t":
      return "stopped";
    case "Z":
    case "X":
      return "zombie";
    default:
      return "sleeping";
  }
}

/** proc_pid_status(5). */
function readStatus(
  pid: number,
  idBase: number,
): Pick<TopProcess, "pid" | "user" | "memoryBytes"> | undefined {
  const text = readProcFile(`/proc/${pid}/status`) ?? "";
  // Ours first, then the container's, then those of namespaces that it made itself.
  const inside = /^NSpid:\t\d+\t(\d+)/m.exec(text)?.[1];
  if (inside === undefined) return undefined;
  const user = Number(/^Uid:\t\d+\t(\d+)/m.exec(text)?.[1]) - idBase;
  return {
    pid: Number(inside),
    user: user >= 0 && user < ID_RANGE_SIZE ? user : NOBODY,
    memoryBytes: Number(/^VmRSS:\s+(\d+) kB/m.exec(text)?.[1] ?? 0) * 1024,
  };
}

/** Read by a program of its own: the kernel takes the words out of the process's memory, and a hostile one can make
 * that wait. */
const commandScript = String.raw`
for (@ARGV) {
  my $words = "";
  if (open(my $file, "<", "/proc/$_/cmdline")) { sysread($file, $words, ${COMMAND_BYTES_MAX}); }
  print unpack("H*", $words), "\n";
}
`;

async function readCommands(pids: readonly number[]): Promise<readonly string[]> {
  const options = { timeoutMs: COMMANDS_MS_MAX };
  const args = ["-e", commandScript, "--", ...pids.map(String)];
  // Without their words they still have names.
  const lines = await runTool("/usr/bin/perl", args, options).then(
    ({ stdout }) => stdout.split("\n"),
    () => [],
  );
  return lines.map((hex) => Buffer.from(hex, "hex").toString("utf8").replaceAll("\0", " ").trim());
}
