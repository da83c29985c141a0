/** What is on the machine of one agent under test, seen from outside: from the kernel and from the agent's folders. */
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { ProcessRecord } from "@strata/agent/container/record";
import { getNamespacePid, readProcFile } from "@strata/agent/host/process-table";
import { type ImageRecord, listImageRecords } from "@strata/agent/image/image-record";
import type { AgentPaths } from "@strata/agent/paths";

/** In its container lxc-init is pid 1, the application pid 2. */
const APPLICATION = 2;

export type Application = { readonly pid: number; readonly mark: string };

/** Every application of the machine whose mark begins with this key. */
export function findApplications(key: string): readonly Application[] {
  return findProcesses(`${key}-`).flatMap(({ pid, words }) => {
    const mark = words.at(-1) ?? "";
    const isOne = mark.startsWith(`${key}-`) && getNamespacePid(pid) === APPLICATION;
    return isOne ? [{ pid, mark }] : [];
  });
}

type FoundProcess = { readonly pid: number; readonly words: readonly string[] };

/** Processes of the machine whose command line has this text in it. */
export function findProcesses(text: string): readonly FoundProcess[] {
  return list("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    const line = readProcFile(`/proc/${name}/cmdline`) ?? "";
    if (!line.includes(text)) return [];
    return [{ pid: Number(name), words: line.split("\0").filter((word) => word !== "") }];
  });
}

/** Empty for a folder that is not there. */
export function list(path: string): readonly string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

/** Undefined for a process that the agent does not keep a record of. */
export function readRecord(paths: AgentPaths, processId: string): ProcessRecord | undefined {
  const path = join(paths.processes, processId, "record.json");
  return existsSync(path) ? ProcessRecord.parse(JSON.parse(readFileSync(path, "utf8"))) : undefined;
}

export function listImages({ images }: AgentPaths): readonly ImageRecord[] {
  return listImageRecords(join(images, "images"));
}

/** Digests below a folder of contents or layers. */
export function listDigests(folder: string): readonly string[] {
  return list(folder).flatMap((algorithm) =>
    list(join(folder, algorithm)).map((hex) => `${algorithm}:${hex}`),
  );
}

/** Whether a container's files are being put together: its supervisor writes `user` when they are. */
export function isMounting({ runs }: AgentPaths): boolean {
  return list(runs).some((processId) => {
    const files = list(join(runs, processId));
    return files.includes("pid") && !files.includes("user") && !files.includes("exit");
  });
}

/** Whether a layer is being unpacked, or was when the agent was killed. */
export function isUnpacking({ images }: AgentPaths): boolean {
  const incoming = join(images, "incoming");
  return list(incoming).some((name) => list(join(incoming, name, "fs")).length > 0);
}

/** The ends of containers' wires on this bridge. */
export function listWires(bridge: string): readonly string[] {
  return list(`/sys/class/net/${bridge}/brif`);
}

/** Network devices whose names begin with the bridge's. */
export function listDevices(bridge: string): readonly string[] {
  return list("/sys/class/net").filter((name) => name.startsWith(bridge));
}

/** `tcp/24000` for each port that leads to a container: the agent's table has the bridge's name. */
export function listPublishedPorts(bridge: string): readonly string[] {
  const nft = (...args: readonly string[]): string =>
    execFileSync("nft", args, { encoding: "utf8" });
  const families = [...nft("list", "tables").matchAll(/^table (\S+) (\S+)$/gm)].flatMap(
    ([, family = "", name]) => (name === bridge ? [family] : []),
  );
  const text = families.map((family) => nft("list", "table", family, bridge)).join("\n");
  const ports = [...text.matchAll(/(tcp|udp) \. (\d+) : \S/g)];
  return [...new Set(ports.map(([, protocol, port]) => `${protocol}/${port}`))];
}

export function listMounts(): readonly string[] {
  const text = readFileSync("/proc/self/mountinfo", "utf8");
  return text.split("\n").map((line) => line.split(" ")[4] ?? "");
}

/** Files of the agent that only stand for others until these are whole. */
export function listUnfinished({ data, processes, images }: AgentPaths): readonly string[] {
  const folders = [
    data,
    join(images, "images"),
    ...list(processes).map((processId) => join(processes, processId)),
  ];
  return folders.flatMap((folder) =>
    list(folder).flatMap((name) => (name.endsWith(".new") ? [join(folder, name)] : [])),
  );
}
