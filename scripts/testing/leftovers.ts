/** What tests could leave on the machine: seen before and after, the difference is what they did leave. */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Every line names its kind, so that one set holds them all: `mount /tmp/x overlay`, `link veth1`. */
export type Observation = ReadonlySet<string>;

/** Every process of a test run has this variable in its environment, whoever its parent is by now. */
export const RUN_VARIABLE = "STRATA_TEST_RUN";

const CGROUP_DEPTH_MAX = 8;
const ENVIRON_BYTES_MAX = 1024 * 1024;

/** All that is there now. `run` is the value of RUN_VARIABLE in the processes that count. */
export function observe(run: string): Observation {
  return new Set([
    ...listMounts(),
    ...listFolder("link", "/sys/class/net"),
    ...listFolder("network namespace", "/run/netns"),
    ...listFolder("temporary folder", tmpdir()).filter((line) => line.includes("/strata")),
    ...listTables(),
    ...listCgroups("/sys/fs/cgroup", CGROUP_DEPTH_MAX),
    ...listProcesses(run),
  ]);
}

export function findLeftovers(before: Observation, after: Observation): readonly string[] {
  return [...after].filter((line) => !before.has(line)).toSorted();
}

function listMounts(): readonly string[] {
  return readFileSync("/proc/self/mountinfo", "utf8")
    .trim()
    .split("\n")
    .map((line) => `mount ${line.split(" ")[4] ?? line}`);
}

function listFolder(kind: string, path: string): string[] {
  return existsSync(path) ? readdirSync(path).map((name) => `${kind} ${join(path, name)}`) : [];
}

function listTables(): readonly string[] {
  const output = execFileSync("nft", ["list", "tables"], { encoding: "utf8" });
  return output.split("\n").flatMap((line) => (line === "" ? [] : [`nft ${line}`]));
}

function listCgroups(path: string, depth: number): readonly string[] {
  if (depth === 0) return [];
  return readFolders(path).flatMap((name) => {
    const child = join(path, name);
    return [`cgroup ${child}`, ...listCgroups(child, depth - 1)];
  });
}

/** Empty for a folder that ended while we looked. */
function readFolders(path: string): readonly string[] {
  try {
    return readdirSync(path, { withFileTypes: true }).flatMap((entry) =>
      entry.isDirectory() ? [entry.name] : [],
    );
  } catch {
    return [];
  }
}

function listProcesses(run: string): readonly string[] {
  return readFolders("/proc").flatMap((pid) => {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) return [];
    const belongs = readProcFile(pid, "environ").includes(`${RUN_VARIABLE}=${run}`);
    return belongs ? [`process ${pid} ${readProcFile(pid, "cmdline").replaceAll("\0", " ")}`] : [];
  });
}

/** Empty for a process that ended while we looked. */
function readProcFile(pid: string, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, "latin1").slice(0, ENVIRON_BYTES_MAX);
  } catch {
    return "";
  }
}
