import { fork } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { JoinTokenCreated, Subscription } from "@strata/protocol/api/resources";

import { root } from "../root.ts";
import type { Bench, BenchReport, Result } from "./bench.ts";
import { aClient, type Client } from "./control-plane/client.ts";
import { aControllerProgram, type ControllerProgram } from "./control-plane/controller-program.ts";
import { plotGrowth, type Growth } from "./control-plane/plot-growth.ts";
import { startProbe } from "./control-plane/probe.ts";
import type { Orders } from "./control-plane/simulated-agents.ts";
import { goalBound, goalFloor, summarize } from "./measure.ts";

/** With so many processes on each node, but for the largest. */
const SIZES = [100, 300, 1000, 3000] as const;
const PROCESSES_EACH = 50;
/** The largest would take longer than it tells. */
const PROCESSES_MAX = 50_000;
/** Of each subscription, and no less than 20 of those. */
const PROCESSES_OF_ONE = 200;
const SUBSCRIPTIONS_MIN = 20;
const GOAL_NODES = 1000;
const PLACEMENTS_GOAL = 1500;
const LATENCY_GOAL_MS = 50;

const IDLE_NODES = 100;
const IDLE_PROCESSES = 2000;
const IDLE_MS = 60_000;
const IDLE_SETTLE_MS = 15_000;
const IDLE_CPU_GOAL = 2;
const IDLE_RSS_GOAL_MIB = 150;

const DEADLINE_MS = 600_000;
const WATCH_EVERY_MS = 200;

const agentsProgram = fileURLToPath(new URL("control-plane/simulated-agents.ts", import.meta.url));

/** Simulated agents in a process of their own speak the real protocol over loopback, without TLS, to the real
 * controller with its database on disk. A placement counts when its node has reported the process as running and the
 * controller says so. Nothing else runs on the machine's two processors, which the agents share. */
export const bench: Bench = {
  name: "control-plane",
  summary:
    "Placements a second from the wish to known-to-run, answers of the API meanwhile, and what an idle controller takes",
  rounds: 1,
  run: async ({ rounds, say, folder }) => {
    const growth: Growth[] = [];
    const idle: Idle[] = [];
    for (let round = 1; round <= rounds; round += 1) {
      for (const nodes of SIZES) {
        const processes = Math.min(PROCESSES_MAX, nodes * PROCESSES_EACH);
        growth.push(await measureGrowth(join(folder, `${nodes}-${round}`), { nodes, processes }));
        say(`round ${round}: ${JSON.stringify(growth.at(-1))}`);
      }
      idle.push(await measureIdle(join(folder, `idle-${round}`)));
      say(`round ${round}: ${JSON.stringify(idle.at(-1))}`);
    }
    writeFileSync(join(root, "docs/plots/control-plane.svg"), plotGrowth(growth));
    return toReport(growth, idle);
  },
};

type Idle = { readonly cpuPercent: number; readonly rssMib: number };

function toReport(growth: readonly Growth[], idle: readonly Idle[]): BenchReport {
  const of = (what: string, unit: string, figures: readonly number[]): Result =>
    summarize(what, unit, new Map([["strata", figures]]));
  const sized = SIZES.map((nodes) => {
    const some = growth.filter((one) => one.nodes === nodes);
    const name = `${nodes} nodes, ${some[0]?.processes} processes`;
    return {
      nodes,
      rate: of(
        `${name}: placements`,
        "1/s",
        some.map(({ placementsPerSecond }) => placementsPerSecond),
      ),
      cpu: of(
        `${name}: processor time of the controller for each`,
        "µs",
        some.map(({ cpuUsEach }) => cpuUsEach),
      ),
      p50: of(
        `${name}: API p50`,
        "ms",
        some.map(({ p50Ms }) => p50Ms),
      ),
      p99: of(
        `${name}: API p99`,
        "ms",
        some.map(({ p99Ms }) => p99Ms),
      ),
      rss: of(
        `${name}: memory`,
        "MiB",
        some.map(({ rssMib }) => rssMib),
      ),
    };
  });
  const load = `idle with ${IDLE_NODES} nodes and ${IDLE_PROCESSES} processes`;
  const cpu = of(
    `${load}: processor`,
    "% of a core",
    idle.map(({ cpuPercent }) => cpuPercent),
  );
  const rss = of(
    `${load}: memory`,
    "MiB",
    idle.map(({ rssMib }) => rssMib),
  );
  const aimed = sized.filter(({ nodes }) => nodes === GOAL_NODES);
  return {
    results: [...sized.flatMap((one) => [one.rate, one.cpu, one.p50, one.p99, one.rss]), cpu, rss],
    goals: [
      ...aimed.flatMap(({ rate, p99 }) => [
        goalFloor(rate, PLACEMENTS_GOAL),
        goalBound(p99, LATENCY_GOAL_MS),
      ]),
      goalBound(cpu, IDLE_CPU_GOAL),
      goalBound(rss, IDLE_RSS_GOAL_MIB),
    ],
  };
}

type Size = { readonly nodes: number; readonly processes: number };

async function measureGrowth(folder: string, size: Size): Promise<Growth> {
  await using controller = await aControllerProgram(folder);
  await using client = aClient(controller);
  using _agents = await someAgents(controller, client, size);
  await using probe = startProbe(client);
  const [beganMs, startedAt] = [controller.cpuMs(), performance.now()];
  await wish(client, size.processes);
  await untilReady(client, size.processes);
  const seconds = (performance.now() - startedAt) / 1000;
  const sorted = probe.latencies.toSorted((left, right) => left - right);
  return {
    ...size,
    placementsPerSecond: size.processes / seconds,
    cpuUsEach: (1000 * (controller.cpuMs() - beganMs)) / size.processes,
    p50Ms: quantile(sorted, 0.5),
    p99Ms: quantile(sorted, 0.99),
    rssMib: controller.rssMib(),
  };
}

async function measureIdle(folder: string): Promise<Idle> {
  await using controller = await aControllerProgram(folder);
  await using client = aClient(controller);
  using _agents = await someAgents(controller, client, {
    nodes: IDLE_NODES,
    processes: IDLE_PROCESSES,
  });
  await wish(client, IDLE_PROCESSES);
  await untilReady(client, IDLE_PROCESSES);
  await delay(IDLE_SETTLE_MS);
  const [beganMs, startedAt] = [controller.cpuMs(), performance.now()];
  await delay(IDLE_MS);
  const cpuPercent = (100 * (controller.cpuMs() - beganMs)) / (performance.now() - startedAt);
  return { cpuPercent, rssMib: controller.rssMib() };
}

/** All have joined when the promise resolves; they end with the scope. */
async function someAgents(
  { url }: ControllerProgram,
  client: Client,
  { nodes, processes }: Size,
): Promise<Disposable> {
  await client.pushImage("load");
  await client.call("PUT", "/v1/partitions/load", {});
  await client.call("PUT", "/v1/cartridges/load", { image: "load:1", partition: "load" });
  const { token } = JoinTokenCreated.parse(
    await client.call("POST", "/v1/join-tokens", { partition: "load", uses: nodes }),
  );
  const each = Math.ceil(processes / nodes);
  const orders: Orders = {
    url,
    joinSecret: token.split(".")[2] ?? "",
    agents: nodes,
    // A tenth more than it needs, as processes of 10 thousandths, 4 MiB and 8 pids.
    capacity: {
      cpuMillis: Math.ceil(each * 11),
      memoryBytes: Math.ceil(each * 4.4 * 1024 ** 2),
      pids: Math.ceil(each * 8.8),
    },
  };
  const child = fork(agentsProgram, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  child.send(orders);
  await once(child, "message");
  return { [Symbol.dispose]: () => void child.kill() };
}

function countSubscriptions(processes: number): number {
  return Math.max(SUBSCRIPTIONS_MIN, Math.ceil(processes / PROCESSES_OF_ONE));
}

async function wish({ call }: Client, processes: number): Promise<void> {
  const subscriptions = countSubscriptions(processes);
  const each = Math.ceil(processes / subscriptions);
  for (let index = 0; index < subscriptions; index += 1) {
    await call("PUT", `/v1/subscriptions/load-${index}`, {
      cartridge: "load",
      processes: Math.min(each, processes - index * each),
      resources: { cpu: 0.01, memory: "4Mi", pids: 8 },
    });
  }
}

async function untilReady({ call }: Client, processes: number): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS;
  let ready = 0;
  while (ready < processes) {
    if (performance.now() > deadline) throw new Error(`${ready} of ${processes} in 10 minutes`);
    await delay(WATCH_EVERY_MS);
    ready = 0;
    // Most of the time the first tells that it is too early to ask for the others.
    for (let index = 0; index < countSubscriptions(processes); index += 1) {
      const answer = Subscription.parse(await call("GET", `/v1/subscriptions/load-${index}`));
      ready += answer.status.ready;
      if (answer.status.ready < answer.status.desired) break;
    }
  }
}

function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
