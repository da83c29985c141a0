import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

import type { Bench, BenchContext, Contestant, Goal, Result } from "./bench.ts";
import { goalAtLeast, goalAtMost, goalBound, interleave, summarize } from "./measure.ts";
import { settled } from "./settled.ts";
import {
  blobPath,
  downloadSteadily,
  makePayload,
  type Payload,
  push,
  pushImage,
  type PushWay,
  renewPayload,
  runLoad,
} from "./store-load.ts";
import { aDockerRegistry, aStrataStore, type StoreServer } from "./store-servers.ts";

const LAYER_MIB = 512;
const PUSHED_MIB = 256;
const SECONDS = 4;
const MB = 1e6;
const PEER = "docker-registry";
/** Clients of the loads with small answers. */
const CONNECTIONS = 32;
/** What goes on beside the manifests of the mixed load, for both alike. */
const STEADY_DOWNLOAD = 100 * MB;
const STEADY_PUSH = 50 * MB;
/** After the start, until memory is measured. */
const IDLE_MS = 3_000;

/** Both registries run all the time and hold the same image; only one has work at a time. Clients are wrk for all that is
 * read and curl for what is pushed, each with new bytes. */
export const bench: Bench = {
  name: "store",
  summary: "The store beside Debian's docker-registry, both on loopback with the same files",
  rounds: 5,
  run: async ({ rounds, say, folder }) => {
    await using ours = await aStrataStore(join(folder, "ours"));
    await using peer = await aDockerRegistry(join(folder, "peer"));
    const servers = [ours, peer];
    await delay(IDLE_MS);
    const idle = memoryResult("memory after the start", servers, "nowMib");
    say("pushing the image");
    const layer = await makePayload(join(folder, "layer"), LAYER_MIB);
    const pushed = await makePayload(join(folder, "pushed"), PUSHED_MIB);
    let manifest = "";
    for (const server of servers) manifest = await pushImage(server, { layer, folder });
    const field: Field = { servers, layer, manifest, pushed, rounds, say };
    const results = await measureAll(field);
    const peak = memoryResult("memory at most", servers, "peakMib");
    return {
      results: [...results, idle, peak],
      goals: [...results.flatMap(goalsOf), goalAtMost(peak, PEER, 1.3)],
    };
  },
};

type Field = Pick<BenchContext, "rounds" | "say"> & {
  readonly servers: readonly StoreServer[];
  readonly layer: Payload;
  readonly manifest: string;
  readonly pushed: Payload;
};

type Measurement = {
  readonly what: string;
  readonly unit: string;
  readonly measure: (server: StoreServer) => Promise<number>;
};

async function measureAll(field: Field): Promise<readonly Result[]> {
  const { servers, rounds, say } = field;
  const results: Result[] = [];
  for (const { what, unit, measure } of measurements(field)) {
    const contestants = servers.map((server): Contestant => {
      return settled({ name: server.name, measure: () => measure(server) });
    });
    const tell = (line: string): void => say(`${what}: ${line}`);
    const samples = await interleave(contestants, { rounds, say: tell });
    results.push(summarize(what, unit, samples));
  }
  return results;
}

const names = {
  manifest: "manifest GET by tag, 32 clients",
  p99: "p99 of it",
  mixed: "p99 of it beside a download and a push",
  ranges: "64 KiB at random places, 32 clients",
  download: (clients: number): string =>
    `blob GET, ${clients} ${clients === 1 ? "client" : "clients"}`,
  push: (way: PushWay): string => `blob push, ${way === "put" ? "in one PUT" : "streamed PATCH"}`,
} as const;

function measurements({ layer, manifest, pushed }: Field): readonly Measurement[] {
  const read = { seconds: SECONDS, clients: CONNECTIONS };
  const path = blobPath(layer);
  const download = (clients: number): Measurement => ({
    what: names.download(clients),
    unit: "MB/s",
    measure: async (server) =>
      (await runLoad(server, { ...read, path, clients })).bytesPerSecond / MB,
  });
  const upload = (way: PushWay): Measurement => ({
    what: names.push(way),
    unit: "MB/s",
    measure: async (server) => {
      const payload = await renewPayload(pushed);
      return payload.sizeBytes / MB / ((await push(server, { payload, way })) / 1000);
    },
  });
  return [
    {
      what: names.manifest,
      unit: "req/s",
      measure: async (server) =>
        (await runLoad(server, { ...read, path: manifest })).requestsPerSecond,
    },
    {
      what: names.p99,
      unit: "ms",
      measure: async (server) => (await runLoad(server, { ...read, path: manifest })).p99Ms,
    },
    {
      what: names.mixed,
      unit: "ms",
      measure: (server) => measureMixed(server, { layer, manifest, pushed }),
    },
    {
      what: names.ranges,
      unit: "req/s",
      measure: async (server) =>
        (await runLoad(server, { ...read, path, rangesOfBytes: layer.sizeBytes }))
          .requestsPerSecond,
    },
    ...[1, 4, 16].map(download),
    ...(["put", "patch"] as const).map(upload),
  ];
}

async function measureMixed(
  server: StoreServer,
  { layer, manifest, pushed }: Pick<Field, "layer" | "manifest" | "pushed">,
): Promise<number> {
  const payload = await renewPayload(pushed);
  const enough = new AbortController();
  const steady = { bytesPerSecond: STEADY_DOWNLOAD, signal: enough.signal };
  const others = Promise.all([
    downloadSteadily(server, blobPath(layer), steady),
    push(server, { payload, way: "patch", limit: STEADY_PUSH }),
  ]);
  try {
    const load = { path: manifest, clients: CONNECTIONS, seconds: SECONDS };
    return (await runLoad(server, load)).p99Ms;
  } finally {
    enough.abort();
    await others;
  }
}

function goalsOf(result: Result): readonly Goal[] {
  switch (result.what) {
    case names.manifest:
    case names.ranges:
      return [goalAtLeast(result, PEER, 8)];
    case names.p99:
    case names.mixed:
      return [goalBound(result, 15)];
    case names.push("put"):
    case names.push("patch"):
      return [goalAtLeast(result, PEER, 1.5)];
    default:
      return [goalAtLeast(result, PEER, 1)];
  }
}

function memoryResult(
  what: string,
  servers: readonly StoreServer[],
  field: "nowMib" | "peakMib",
): Result {
  return summarize(
    what,
    "MiB RSS",
    new Map(servers.map((server) => [server.name, [server.memory()[field]]])),
  );
}
