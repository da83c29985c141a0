import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { basename, dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

import { replaceFile, readOptionalFile } from "../durable-file.ts";
import { AgentError } from "../errors.ts";
import {
  getExecutable,
  identifyProcess,
  isAlive,
  type ProcessIdentity,
  sendSignal,
} from "../host/process-table.ts";
import { startDetached } from "../host/run-tool.ts";
import { askHaproxy, commandHaproxy } from "./haproxy-socket.ts";
import type { IngressPaths } from "./ingress-paths.ts";
import type { ActualServers } from "./plan-changes.ts";
import {
  parseConfigId,
  parseServers,
  parseStats,
  parseWorkers,
  type ServerStat,
  type Workers,
} from "./read-haproxy.ts";
import type { RenderedConfig } from "./render-config.ts";

export const HAPROXY = "/usr/sbin/haproxy";

const START_MS_MAX = 15_000;
const LOOK_MS = 20;
const PROBE_MS = 500;
const FIND_MS = 5000;
const SIGTERM = 15;
const SIGKILL = 9;
const SIGUSR2 = 12;

/** The HAProxy of this agent: a master that outlives the agent, and the worker that serves. */
export type Haproxy = {
  /** One that runs already, of an earlier life of the agent or of this one. */
  readonly find: () => Promise<ProcessIdentity | undefined>;
  /** Resolves when it serves this configuration; `running` is replaced without a connection lost.
   * @throws AgentError TOOL_FAILED when it does not; what served before then goes on */
  readonly load: (
    config: RenderedConfig,
    running: ProcessIdentity | undefined,
  ) => Promise<ProcessIdentity>;
  /** The id of the configuration that is served. */
  readonly readConfigId: () => Promise<string | undefined>;
  readonly readServers: () => Promise<ActualServers>;
  readonly command: (commands: readonly string[]) => Promise<readonly string[]>;
  readonly readWorkers: () => Promise<Workers | undefined>;
  readonly readStats: () => Promise<readonly ServerStat[]>;
  /** Of a worker that a reload has replaced; nothing when it is gone. */
  readonly readOldStats: (pid: number) => Promise<readonly ServerStat[]>;
  /** Ends it and all connections. */
  readonly end: () => Promise<void>;
};

export function createHaproxy(paths: IngressPaths): Haproxy {
  const ask = (line: string): Promise<string> => askHaproxy(paths.statsSocket, line);
  const askMaster = (line: string): Promise<string> => askHaproxy(paths.masterSocket, line);
  const readWorkers = async (): Promise<Workers | undefined> =>
    parseWorkers(await askMaster("show proc"));
  const readConfigId = async (): Promise<string | undefined> =>
    parseConfigId(await ask("show info"));

  const find = async (msMax = FIND_MS): Promise<ProcessIdentity | undefined> => {
    const text = await askHaproxy(paths.masterSocket, "show proc", msMax).catch(() => "");
    const workers = parseWorkers(text);
    return workers === undefined ? undefined : identifyProcess(workers.master);
  };
  const load: Haproxy["load"] = async (config, running) => {
    writeFiles(config, paths);
    if (running === undefined) await endStray(paths);
    const failures = running === undefined ? 0 : await countFailures(askMaster);
    const hasEnded = running === undefined ? start(paths) : () => !isAlive(running);
    if (running !== undefined) sendSignal(running.pid, SIGUSR2);
    const deadline = performance.now() + START_MS_MAX;
    while (performance.now() < deadline) {
      await delay(LOOK_MS);
      // One that is about to end may take a question in and never answer.
      const info = await askHaproxy(paths.statsSocket, "show info", PROBE_MS).catch(() => "");
      const id = parseConfigId(info);
      const identity = id === config.id ? await find(PROBE_MS) : undefined;
      if (identity !== undefined) return identity;
      if (hasEnded()) break;
      if (running !== undefined && (await countFailures(askMaster)) > failures) break;
    }
    throw new AgentError("TOOL_FAILED", `HAProxy does not load: ${lastWords(paths)}`);
  };
  return {
    find: () => find(),
    load,
    readConfigId,
    readServers: async () => parseServers(await ask("show servers state")),
    command: (commands) => commandHaproxy(paths.statsSocket, commands),
    readWorkers,
    readStats: async () => parseStats(await ask("show stat")),
    readOldStats: async (pid) => parseStats(await askMaster(`@!${pid} show stat`)),
    end: () => endAll(paths, find, readWorkers),
  };
}

/** Says from then on whether it has ended. */
function start(paths: IngressPaths): () => boolean {
  mkdirSync(dirname(paths.accessLog), { recursive: true, mode: 0o700 });
  const logFd = openSync(paths.accessLog, "a", 0o600);
  const errorFd = openSync(paths.messages, "a", 0o600);
  try {
    const master = `${paths.masterSocket},mode,600,level,admin`;
    const args = ["-W", "-S", master, "-f", paths.config];
    const child = startDetached(HAPROXY, args, { logFd, errorFd });
    let hasEnded = false;
    for (const event of ["error", "exit"]) child.once(event, () => (hasEnded = true));
    return () => hasEnded;
  } finally {
    closeSync(logFd);
    closeSync(errorFd);
  }
}

/** Times a configuration was refused: the worker before goes on then. */
async function countFailures(askMaster: (line: string) => Promise<string>): Promise<number> {
  const text = await askMaster("show proc").catch(() => "");
  return Number(/\[failed: (\d+)\]/.exec(text)?.[1] ?? 0);
}

const WORDS_MAX = 400;

function lastWords({ messages }: IngressPaths): string {
  const lines = (readOptionalFile(messages) ?? "").slice(-16_384).split("\n");
  const alerts = lines.filter((line) => line.includes("[ALERT]"));
  return (alerts.slice(-3).join(" ") || "it says nothing").slice(-WORDS_MAX);
}

/** Files that HAProxy opens as root, before it gives that up. */
function writeFiles({ files }: RenderedConfig, paths: IngressPaths): void {
  mkdirSync(paths.certificates, { recursive: true, mode: 0o700 });
  // The worker, which is not root, looks for the waker in here.
  mkdirSync(paths.root, { recursive: true, mode: 0o755 });
  for (const [path, text] of files) {
    if (readOptionalFile(path) !== text) replaceFile(path, text);
  }
  const wanted = new Set([...files.keys()].map((path) => basename(path)));
  for (const name of readdirSync(paths.certificates)) {
    if (!wanted.has(name)) rmSync(`${paths.certificates}/${name}`);
  }
}

/** One that no longer answers would keep ports and connections. */
async function endStray({ pid: pidFile, config }: IngressPaths): Promise<void> {
  const pid = Number(readOptionalFile(pidFile) ?? "");
  const identity = Number.isSafeInteger(pid) && pid > 1 ? identifyProcess(pid) : undefined;
  if (identity === undefined || getExecutable(pid) !== HAPROXY) return;
  if (!readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").includes(config)) return;
  await endProcesses([identity], SIGKILL);
}

async function endAll(
  paths: IngressPaths,
  find: Haproxy["find"],
  readWorkers: Haproxy["readWorkers"],
): Promise<void> {
  const master = await find();
  if (master === undefined) return endStray(paths);
  const workers = await readWorkers().catch(() => undefined);
  const pids = [
    ...(workers?.old ?? []),
    ...(workers?.current === undefined ? [] : [workers.current]),
  ];
  const identities = pids.flatMap((pid) => identifyProcess(pid) ?? []);
  await endProcesses([master, ...identities], SIGTERM);
}

const END_MS = 3000;

async function endProcesses(identities: readonly ProcessIdentity[], signal: number): Promise<void> {
  const left = (): readonly ProcessIdentity[] => identities.filter(isAlive);
  for (const { pid } of left()) sendSignal(pid, signal);
  const deadline = performance.now() + END_MS;
  while (left().length > 0 && performance.now() < deadline) await delay(LOOK_MS);
  for (const { pid } of left()) sendSignal(pid, SIGKILL);
}
