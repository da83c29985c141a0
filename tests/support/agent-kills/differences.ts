/** What is not as it must be once an agent has come to rest: lost, doubled, leaked or wrong. */
import { join } from "node:path";

import type { Cgroups } from "@strata/agent/cgroup/cgroups";
import type { AgentPaths } from "@strata/agent/paths";
import type { ProcessReport, Report } from "@strata/protocol/agent/messages";

import {
  findApplications,
  findProcesses,
  list,
  listDevices,
  listDigests,
  listImages,
  listMounts,
  listPublishedPorts,
  listUnfinished,
  listWires,
} from "./observe.ts";
import { markOf, type Slot } from "./wishes.ts";

export type Machine = {
  readonly key: string;
  readonly folder: string;
  readonly paths: AgentPaths;
  readonly bridge: string;
  readonly cgroups: Cgroups;
  readonly slots: readonly Slot[];
  /** Of the agent that runs now. */
  readonly agentPid: number | undefined;
};

/** Nothing but what is wanted: empty when all is well. `report` is the agent's last one. */
export function findDifferences(machine: Machine, report: Report | undefined): readonly string[] {
  if (report === undefined) return ["the agent has not reported"];
  const running = machine.slots.filter(({ wish }) => wish?.desired === "running");
  const known = machine.slots.filter(({ wish }) => wish !== undefined);
  const runningIds = running.map(({ processId }) => processId);
  const knownIds = known.map(({ processId }) => processId);
  const { paths, bridge, cgroups } = machine;
  const reports = report.processes;
  return [
    ...compare("reported", ids(reports), knownIds),
    ...known.flatMap((slot) => judgeReport(slot, reports)),
    ...findAbnormalApplications(machine),
    ...compare("control groups", cgroups.listProcessIds(), runningIds),
    ...compare("folders of processes", list(paths.processes), knownIds),
    ...compare("folders of runs", list(paths.runs), runningIds),
    ...compare(
      "scratch folders",
      knownIds.filter((id) => list(join(paths.processes, id)).includes("scratch")),
      runningIds,
    ),
    ...compare("published ports", listPublishedPorts(bridge), [...portsOf(reports), ...NAME_PORTS]),
    ...count("wires", listWires(bridge), running.length),
    ...count("network devices", listDevices(bridge), running.length + 1),
    ...findStrays(machine),
    ...findImageDifferences(paths),
    ...compare("unfinished files", listUnfinished(paths), []),
    ...listMounts()
      .filter((path) => path.startsWith(machine.folder))
      .map((path) => `${path} is mounted on the host`),
  ];
}

/** Of the bridge, which lead to the name server that is in use. */
const NAME_PORTS = ["tcp/53", "udp/53"];

function ids(reports: readonly ProcessReport[]): readonly string[] {
  return reports.map(({ processId }) => processId);
}

function portsOf(reports: readonly ProcessReport[]): readonly string[] {
  return reports.flatMap(({ ports }) =>
    ports.map(({ protocol, hostPort }) => `${protocol}/${hostPort}`),
  );
}

function judgeReport(slot: Slot, reports: readonly ProcessReport[]): readonly string[] {
  const { processId, wish, exit } = slot;
  const report = reports.find((candidate) => candidate.processId === processId);
  if (wish === undefined || report === undefined) return [];
  const { state, lastExit, assignmentId, problem } = report;
  const ended = lastExit === undefined ? "never" : `${lastExit.code} ${lastExit.reason}`;
  return [
    ...expect(`assignment of ${processId}`, assignmentId, wish.id),
    ...expect(`state of ${processId}, ${problem?.message ?? "no problem"}`, state, wish.desired),
    ...(exit === undefined
      ? []
      : expect(`end of ${processId}`, ended, `${exit.code} ${exit.reason}`)),
  ];
}

/** One application for each process that is wanted, and the one that was there before. */
function findAbnormalApplications({ key, slots }: Machine): readonly string[] {
  const found = findApplications(key);
  const running = slots.filter(({ wish }) => wish?.desired === "running");
  return [
    ...compare(
      "applications",
      found.map(({ mark }) => mark),
      running.map((slot) => markOf(key, slot)),
    ),
    ...findReplaced(key, slots),
  ];
}

/** Applications that were seen and are another process now, or gone, although nobody ended them. Notes the pids. */
export function findReplaced(key: string, slots: readonly Slot[]): readonly string[] {
  const found = findApplications(key);
  return slots.flatMap((slot) => {
    // What was ended may take a moment to end, and is another process then.
    if (slot.wish?.desired !== "running" || slot.isEnded) return [];
    const mark = markOf(key, slot);
    const pids = found.filter((one) => one.mark === mark).map(({ pid }) => pid);
    const before = slot.pid;
    slot.pid ??= pids[0];
    if (pids.length > 1) return [`${mark} runs ${pids.length} times`];
    if (before === undefined || pids[0] === before) return [];
    return [`${mark} was pid ${before} and is ${pids[0] ?? "gone"}`];
  });
}

/** Programs that work in the agent's folders, but for the agent itself, its containers and one name server. */
function findStrays({ folder, cgroups, agentPid }: Machine): readonly string[] {
  const expected = new Set([
    agentPid,
    ...cgroups.listProcessIds().flatMap((processId) => cgroups.listAllPids(processId)),
  ]);
  const found = findProcesses(folder).filter(
    ({ pid, words }) => !expected.has(pid) && !words.includes("rm"),
  );
  const [servers = [], others = []] = [true, false].map((isServer) =>
    found.filter(({ words }) => (words[0]?.endsWith("/dnsmasq") ?? false) === isServer),
  );
  return [
    ...count(
      "name servers",
      servers.map(({ pid }) => `${pid}`),
      1,
    ),
    ...others.map(({ pid, words }) => `pid ${pid} is left: ${words.join(" ").slice(0, 200)}`),
  ];
}

/** A layer whose image was not whole yet when it was given up may wait for the next pull. */
function findImageDifferences(paths: AgentPaths): readonly string[] {
  const images = listImages(paths);
  const { images: folder } = paths;
  const layers = new Set(listDigests(join(folder, "layers")));
  const contents = new Set(listDigests(join(folder, "contents")));
  return [
    ...compare("incoming", list(join(folder, "incoming")), []),
    ...images.flatMap(({ digest, diffIds, contents: needed }) => [
      ...diffIds.filter((id) => !layers.has(id)).map((id) => `${digest} lacks layer ${id}`),
      ...needed.filter((id) => !contents.has(id)).map((id) => `${digest} lacks ${id}`),
    ]),
  ];
}

/** Layers and contents that no image needs, after they were removed. */
export function findOrphans(paths: AgentPaths): readonly string[] {
  const { images: folder } = paths;
  const images = listImages(paths);
  const layers = new Set(images.flatMap(({ diffIds }) => diffIds));
  const contents = new Set(images.flatMap((image) => image.contents));
  return [
    ...compare("layers", listDigests(join(folder, "layers")), [...layers]),
    ...compare("contents", listDigests(join(folder, "contents")), [...contents]),
  ];
}

function compare(
  what: string,
  found: readonly string[],
  wanted: readonly string[],
): readonly string[] {
  return expect(what, found.toSorted().join(" ") || "none", wanted.toSorted().join(" ") || "none");
}

function count(what: string, found: readonly string[], wanted: number): readonly string[] {
  return found.length === wanted ? [] : [`${what}: ${found.join(" ")}, not ${wanted}`];
}

function expect(what: string, is: string, shall: string): readonly string[] {
  return is === shall ? [] : [`${what}: ${is}, not ${shall}`];
}
