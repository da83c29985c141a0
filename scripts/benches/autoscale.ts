import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

import { listOf, Process } from "@strata/protocol/api/resources";

import { type Call, createApi } from "../instance/api.ts";
import { LOCAL_PARTITION } from "../instance/node.ts";
import { aScratchInstance } from "../instance/scratch.ts";
import { waitFor } from "../instance/wait.ts";
import type { Bench, BenchReport } from "./bench.ts";
import { type EventWatch, watchEvents } from "./event-stream.ts";
import { goalOfWorst, summarize } from "./measure.ts";

const WAIT_MS = 60_000;
/** Of a steady load, before it jumps. */
const STEADY_MS = 6000;
const STEADY_CONNECTIONS = 1;
/** No more than busybox's web server lets wait: others would not be established. */
const JUMP_CONNECTIONS = 9;
const STEADY_QUEUE = 4;
const JUMP_QUEUE = 60;
const DECISION_GOAL_MS = 2000;
const SERVING_GOAL_MS = 3000;
const PROVIDER_GOAL_MS = 2000;

/** Each in milliseconds, a new figure for every round. */
type Figures = Readonly<Record<"decision" | "serving" | "posted" | "provider", number[]>>;

/** Real containers of a real installation on this machine, with every default of the policies. A load is TCP
 * connections: 1 of a target of 2, then 10. Serving is measured until the new process's health probe has succeeded
 * and the controller knows it; asked for every 500 ms, as the hello cartridge has it. */
export const bench: Bench = {
  name: "autoscale",
  summary:
    "From a jump of the load to the decision and to a new process that serves, the image being there",
  rounds: 10,
  run: async ({ rounds, say, folder }) => {
    await using scratch = await aScratchInstance(join(folder, "instance"), say);
    const { instance } = scratch;
    await using events = await watchEvents(instance);
    const api = createApi(instance);
    const installation = { api, events, folder };
    await putPolicies(api);
    const figures: Figures = { decision: [], serving: [], posted: [], provider: [] };
    for (let round = 0; round <= rounds; round += 1) {
      const measured = [
        await measureConnections(installation),
        await measurePosted(installation),
        await measureProvider(installation),
      ];
      // The first round warms up.
      if (round > 0) for (const some of measured) addTo(figures, some);
      say(`round ${round} of ${rounds}`);
    }
    return toReport(figures);
  },
};

type Installation = {
  readonly api: Call;
  readonly events: EventWatch;
  readonly folder: string;
};

function addTo(figures: Figures, some: Partial<Record<keyof Figures, number>>): void {
  for (const name of ["decision", "serving", "posted", "provider"] as const) {
    const figure = some[name];
    if (figure !== undefined) figures[name].push(figure);
  }
}

function toReport({ decision, serving, posted, provider }: Figures): BenchReport {
  const one = (what: string, figures: readonly number[]): ReturnType<typeof summarize> =>
    summarize(what, "ms", new Map([["strata", figures]]));
  const results = {
    decision: one("jump of connections → decision", decision),
    serving: one("jump of connections → new process serving", serving),
    posted: one("posted metric → decision", posted),
    provider: one("demand over capacity → provider called", provider),
  };
  return {
    results: Object.values(results),
    goals: [
      goalOfWorst(results.decision, DECISION_GOAL_MS),
      goalOfWorst(results.posted, DECISION_GOAL_MS),
      goalOfWorst(results.serving, SERVING_GOAL_MS),
      goalOfWorst(results.provider, PROVIDER_GOAL_MS),
    ],
  };
}

async function putPolicies(api: Call): Promise<void> {
  await api("PUT", "/v1/scaling-policies/by-connections", {
    max: 8,
    metrics: [{ kind: "in-flight", target: 2 }],
  });
  await api("PUT", "/v1/scaling-policies/by-queue", {
    max: 8,
    metrics: [{ kind: "custom", name: "queue", target: 10 }],
  });
}

/** A subscription with one ready process; gone at the end of the scope. */
async function aSubscription(
  { api }: Installation,
  scalingPolicy: string,
): Promise<AsyncDisposable & { readonly alias: string; readonly first: Process }> {
  const alias = `bench-${randomBytes(4).toString("hex")}`;
  const path = `/v1/subscriptions/${alias}`;
  await api("PUT", path, { cartridge: "hello", partition: LOCAL_PARTITION, scalingPolicy });
  const first = await must("a ready process", async () => {
    const { items } = listOf(Process).parse(await api("GET", `${path}/processes`));
    return items.find(({ ready }) => ready);
  });
  return { alias, first, [Symbol.asyncDispose]: () => remove(api, path) };
}

async function measureConnections(
  installation: Installation,
): Promise<Partial<Record<keyof Figures, number>>> {
  const { events } = installation;
  await using subscription = await aSubscription(installation, "by-connections");
  const { alias, first } = subscription;
  await using _steady = await someConnections(first, STEADY_CONNECTIONS);
  await delay(STEADY_MS);
  const decided = events.next(({ type, subject }) => isScaled(type) && subject === alias);
  const serving = events.next(
    ({ type, subject }) =>
      type === "process.ready" && subject.startsWith(`${alias}-`) && subject !== first.id,
  );
  const jumpedAt = performance.now();
  await using _jump = await someConnections(first, JUMP_CONNECTIONS);
  return { decision: (await decided) - jumpedAt, serving: (await serving) - jumpedAt };
}

async function measurePosted(
  installation: Installation,
): Promise<Partial<Record<keyof Figures, number>>> {
  const { api, events } = installation;
  await using subscription = await aSubscription(installation, "by-queue");
  const { alias } = subscription;
  const path = `/v1/subscriptions/${alias}/metrics`;
  await api("POST", path, { metrics: { queue: STEADY_QUEUE } });
  await delay(STEADY_MS);
  const decided = events.next(({ type, subject }) => isScaled(type) && subject === alias);
  const jumpedAt = performance.now();
  await api("POST", path, { metrics: { queue: JUMP_QUEUE } });
  return { posted: (await decided) - jumpedAt };
}

/** A partition without a node, whose provider is a program that writes down when it was called and gives nothing. */
async function measureProvider({
  api,
  folder,
}: Installation): Promise<Partial<Record<keyof Figures, number>>> {
  const name = `bench-${randomBytes(4).toString("hex")}`;
  const calls = join(folder, `${name}.calls`);
  const program = join(folder, `${name}.sh`);
  writeFileSync(calls, "");
  const create = `case "$question" in *'"create"'*) date +%s%N >> ${calls};; esac`;
  writeFileSync(program, `#!/bin/sh\nquestion=$(cat)\n${create}\nexit 1\n`, { mode: 0o755 });
  await api("PUT", `/v1/providers/${name}`, {
    settings: { kind: "exec", command: [program] },
    flavors: { small: { cpu: 2, memory: "2Gi", disk: "8Gi", image: "any" } },
  });
  await api("PUT", `/v1/partition-policies/${name}`, {
    maxNodes: 2,
    providers: [{ provider: name, flavor: "small" }],
  });
  await api("PUT", `/v1/partitions/${name}`, { policy: name });
  const path = `/v1/subscriptions/${name}`;
  const askedAt = Date.now();
  await api("PUT", path, { cartridge: "hello", partition: name, processes: 1 });
  const called = await must("a call of the provider", () =>
    Promise.resolve(/^\d+/.exec(readFileSync(calls, "utf8"))?.[0]),
  );
  await remove(api, path);
  return { provider: Number(BigInt(called) / 1_000_000n) - askedAt };
}

function isScaled(type: string): boolean {
  return type === "subscription.scaled";
}

/** Connections to the first port of the process, open until the end of the scope. */
async function someConnections(one: Process, count: number): Promise<AsyncDisposable> {
  const { hostname, port } = new URL(one.endpoints[0]?.url ?? "");
  const sockets = await Promise.all(
    Array.from({ length: count }, async (): Promise<Socket> => {
      const socket = connect(Number(port), hostname);
      socket.on("error", () => undefined);
      await once(socket, "connect");
      return socket;
    }),
  );
  return {
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await Promise.resolve();
    },
  };
}

/** Waits for its end, so that the next round has the machine for itself. */
async function remove(api: Call, path: string): Promise<void> {
  await api("DELETE", path);
  await must(`${path} to be gone`, async () =>
    (await api("GET", path)) === undefined ? true : undefined,
  );
}

async function must<Value>(what: string, ask: () => Promise<Value | undefined>): Promise<Value> {
  const found = await waitFor(ask, { timeoutMs: WAIT_MS });
  if (found === undefined) throw new Error(`waited in vain for ${what}`);
  return found;
}
