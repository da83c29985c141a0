import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

import { Subscription } from "@strata/protocol/api/resources";

import { type Call, createApi } from "../instance/api.ts";
import type { Instance } from "../instance/instance.ts";
import { LOCAL_PARTITION } from "../instance/node.ts";
import { runProgram } from "../instance/program.ts";
import { aScratchInstance } from "../instance/scratch.ts";
import { waitFor } from "../instance/wait.ts";
import { root } from "../root.ts";
import { aBareLxc, type BareLxc } from "./bare-lxc.ts";
import type { Bench, BenchReport, Result } from "./bench.ts";
import { goalBound, goalFloor, median, summarize } from "./measure.ts";
import { type NodeProcesses, nodeProcesses } from "./node-processes.ts";
import { copyImage } from "./oci-copy.ts";

/** Processes that run at once, and how many of them a peer may start at a time; the agent's own default is the same. */
const PROCESSES = 500;
const STARTS_MAX = 8;
/** Of the first and of the last starts, so many are compared. */
const COMPARED = 100;
const WAIT_MS = 180_000;
/** For what the starts left to do. */
const SETTLE_MS = 5000;
const IDLE_MS = 20_000;
/** Some time after a start the agent gives memory back. */
const REST_MS = 50_000;
const ALIAS = "dense";

const STARTS_PER_SECOND_GOAL = 40;
const LAST_TO_FIRST_GOAL = 1.3;
const OVERHEAD_KIB_GOAL = 1024;
const AGENT_MIB_GOAL = 80;
const IDLE_PERCENT_GOAL = 1;

type Figure = "rate" | "first" | "lastToFirst" | "overhead" | "agentRss" | "idle" | "stop";
/** One figure for every round. */
type Figures = Readonly<Record<Figure, number[]>>;
type PeerFigures = Pick<Figures, "rate" | "overhead" | "stop">;

/** A real installation runs a busybox that sleeps, 500 times; the peer is `lxc-execute -d` with the same isolation, on
 * one unpacked folder. A start lasts from its turn, when the agent makes the run's folder, until its application
 * runs. What lies beyond the application is everything else in the process's control groups: the supervisor, LXC's
 * monitor and its first process, by their proportional share of memory. */
export const bench: Bench = {
  name: "density",
  summary: `${PROCESSES} processes on one node, ${STARTS_MAX} starts at a time, and what they cost while they sleep`,
  rounds: 1,
  run: async ({ rounds, say, folder }) => {
    await using scratch = await aScratchInstance(join(folder, "instance"), say);
    const { instance } = scratch;
    const api = createApi(instance);
    await pushSleeper(instance, folder);
    const layout = await copyImage(instance, { repository: "sleeper", tag: "1", folder });
    const command = ["/bin/sleep", "86400"];
    await using lxc = await aBareLxc(layout, { folder, instance, like: "hello-", command });
    // Its process would be among ours.
    await remove(api, "hello");
    const ours: Figures = { ...noFigures(), first: [], lastToFirst: [], agentRss: [], idle: [] };
    const peer = noFigures();
    for (let round = 1; round <= rounds; round += 1) {
      await measureOurs(api, { instance, figures: ours, say });
      await measurePeer(lxc, { figures: peer, say });
    }
    return toReport(ours, peer);
  },
};

function noFigures(): PeerFigures {
  return { rate: [], overhead: [], stop: [] };
}

/** Ports would be found in the image, and no host has 500 of them to spare for a bench. */
async function pushSleeper({ settings }: Instance, folder: string): Promise<void> {
  const lines = [
    "name: sleeper",
    "files:",
    `  - { to: /bin/busybox, from: /bin/busybox, mode: "0755" }`,
    "  - { to: /bin/sleep, link: busybox }",
    `command: [/bin/sleep, "86400"]`,
    "",
  ];
  writeFileSync(join(folder, "cartridge.yaml"), lines.join("\n"));
  const cli = join(root, "cli/src/main.ts");
  const build = ["cartridge", "build", folder, "--push", "-t", "sleeper:1"];
  await runProgram([process.execPath, cli, ...build], {
    what: "building the bench's cartridge",
    remedy: "See the lines above.",
    environment: settings,
    timeoutMs: WAIT_MS,
  });
}

type Ours = {
  readonly instance: Instance;
  readonly figures: Figures;
  readonly say: (line: string) => void;
};

async function measureOurs(api: Call, { instance, figures, say }: Ours): Promise<void> {
  await api("PUT", "/v1/cartridges/sleeper", { image: "sleeper:1", partition: LOCAL_PARTITION });
  await api("PUT", `/v1/subscriptions/${ALIAS}`, {
    cartridge: "sleeper",
    processes: PROCESSES,
    resources: { cpu: "30m", memory: "16Mi", pids: 16 },
    stopGrace: "10s",
  });
  await untilCount(api, "running", PROCESSES);
  const node = nodeProcesses(instance);
  const starts = node.starts();
  addStarts(figures, starts);
  say(`${starts.length} run, ${figures.rate.at(-1)?.toFixed(1)} starts a second`);
  await delay(SETTLE_MS);
  figures.overhead.push(node.overheadKib());
  say("measuring the agent while all sleep");
  await measureIdle(node, figures);
  const stoppingAt = performance.now();
  await api("POST", `/v1/subscriptions/${ALIAS}/scale`, { processes: 0 });
  await waitUntil("every process to stop", async () => {
    await Promise.resolve();
    return node.count() === 0;
  });
  figures.stop.push((performance.now() - stoppingAt) / 1000);
  await remove(api, ALIAS);
}

function addStarts(figures: Figures, starts: ReturnType<NodeProcesses["starts"]>): void {
  const beganAt = Math.min(...starts.map(({ beganMs }) => beganMs));
  const endedAt = Math.max(...starts.map(({ runningMs }) => runningMs));
  figures.rate.push((starts.length * 1000) / (endedAt - beganAt));
  const taken = starts
    .toSorted((left, right) => left.beganMs - right.beganMs)
    .map(({ beganMs, runningMs }) => runningMs - beganMs);
  const first = median(taken.slice(0, COMPARED));
  figures.first.push(first);
  figures.lastToFirst.push(median(taken.slice(-COMPARED)) / first);
}

async function measureIdle(node: NodeProcesses, figures: Figures): Promise<void> {
  const before = node.agentCpuMs();
  const startedAt = performance.now();
  await delay(IDLE_MS);
  figures.idle.push((100 * (node.agentCpuMs() - before)) / (performance.now() - startedAt));
  await delay(REST_MS);
  figures.agentRss.push(node.agentRssMib());
}

async function measurePeer(
  lxc: BareLxc,
  { figures, say }: Pick<Ours, "say"> & { readonly figures: PeerFigures },
): Promise<void> {
  const names = Array.from({ length: PROCESSES }, (_, index) => `bench-${index}`);
  const startedAt = performance.now();
  await inParallel(names, lxc.execute);
  figures.rate.push((names.length * 1000) / (performance.now() - startedAt));
  say(`lxc-execute: ${figures.rate.at(-1)?.toFixed(1)} starts a second`);
  figures.overhead.push(lxc.overheadKib(names));
  const stoppingAt = performance.now();
  await inParallel(names, lxc.stop);
  figures.stop.push((performance.now() - stoppingAt) / 1000);
}

async function inParallel(
  names: readonly string[],
  work: (name: string) => Promise<void>,
): Promise<void> {
  const waiting = [...names];
  const worker = async (): Promise<void> => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) await work(name);
  };
  await Promise.all(Array.from({ length: STARTS_MAX }, worker));
}

function toReport(ours: Figures, peer: PeerFigures): BenchReport {
  const alone = (what: string, unit: string, figures: readonly number[]): Result =>
    summarize(what, unit, new Map([["strata", figures]]));
  const beside = (what: string, unit: string, figure: keyof PeerFigures): Result =>
    summarize(
      what,
      unit,
      new Map([
        ["strata", ours[figure]],
        ["lxc-execute", peer[figure]],
      ]),
    );
  const rate = beside("starts in a second", "/s", "rate");
  const lastToFirst = alone(
    `last ${COMPARED} starts by the first ${COMPARED}`,
    "x",
    ours.lastToFirst,
  );
  const overhead = beside("memory beyond the application, each", "KiB PSS", "overhead");
  const agentRss = alone("memory of the agent, a minute later", "MiB RSS", ours.agentRss);
  const idle = alone("agent while all sleep", "% of a core", ours.idle);
  return {
    results: [
      rate,
      alone(`a start among the first ${COMPARED}`, "ms", ours.first),
      lastToFirst,
      overhead,
      agentRss,
      idle,
      beside(`time to stop ${PROCESSES}`, "s", "stop"),
    ],
    goals: [
      goalFloor(rate, STARTS_PER_SECOND_GOAL),
      goalBound(lastToFirst, LAST_TO_FIRST_GOAL),
      goalBound(overhead, OVERHEAD_KIB_GOAL),
      goalBound(agentRss, AGENT_MIB_GOAL),
      goalBound(idle, IDLE_PERCENT_GOAL),
    ],
  };
}

async function untilCount(api: Call, state: "running" | "ready", count: number): Promise<void> {
  let seen = "";
  await waitUntil(
    () => `${count} processes to be ${state}: ${seen}`,
    async () => {
      const { status } = Subscription.parse(await api("GET", `/v1/subscriptions/${ALIAS}`));
      seen = `${status[state]} are; ${status.message ?? ""}`;
      return status[state] === count;
    },
  );
}

async function remove(api: Call, alias: string): Promise<void> {
  const path = `/v1/subscriptions/${alias}`;
  await api("DELETE", path);
  await waitUntil(`${path} to be gone`, async () => (await api("GET", path)) === undefined);
}

async function waitUntil(
  what: string | (() => string),
  isSo: () => Promise<boolean>,
): Promise<void> {
  const ask = async (): Promise<true | undefined> => ((await isSo()) ? true : undefined);
  const found = await waitFor(ask, { timeoutMs: WAIT_MS, pollMs: 250 });
  if (found === undefined) {
    throw new Error(`waited in vain for ${typeof what === "string" ? what : what()}`);
  }
}
