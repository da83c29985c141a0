import { readFileSync } from "node:fs";
import { join } from "node:path";

import { ensureAdminToken } from "@strata/controller/access/admin-token";
import { type Config, readConfig } from "@strata/controller/config";
import { createServices, openState } from "@strata/controller/core";
/** A controller without sockets: the real core on a database in memory, with a clock that the test moves. */
import { createApp } from "@strata/controller/http/app";
import type { RouteEntry } from "@strata/controller/http/route";
import type { Services } from "@strata/controller/http/services";
import type { ImageSource } from "@strata/controller/images/inspect-image";
import { createLogger } from "@strata/controller/logger";
import type { OpenProvider } from "@strata/controller/loops/provision-providers";
import { ensureIngressAuthority } from "@strata/controller/pki/authority";
import { openDatabase } from "@strata/controller/store/database";
import { createTicks, type Ticks } from "@strata/controller/ticks";
import type { Tracing } from "@strata/controller/tracing/tracing";
import { mediaTypes } from "@strata/protocol/oci/media-type";
import { createRegistry, type Registry } from "@strata/registry/create-registry";
import { createMemoryBlobStore } from "@strata/registry/drivers/memory-blob-store";
import { createSqliteMetadataStore } from "@strata/registry/drivers/sqlite-metadata-store";
import type { MetadataStore } from "@strata/registry/metadata-store";

import { digestOf } from "./registry-client.ts";
import { aTemporaryDirectory } from "./temporary.ts";

export type Answer = {
  readonly status: number;
  readonly headers: Headers;
  // What an answer holds is for the test to say.
  // oxlint-disable-next-line typescript/no-explicit-any -- see above
  readonly body: any;
};

export type TestController = AsyncDisposable & {
  readonly services: Services;
  readonly ticks: Ticks;
  readonly routes: readonly RouteEntry[];
  readonly adminToken: string;
  /** As the admin, unless `token` says otherwise. An object is sent as JSON. */
  readonly call: (method: string, path: string, options?: CallOptions) => Promise<Answer>;
  readonly request: (path: string | Request, init?: RequestInit) => Promise<Response>;
  /** Moves both clocks. */
  readonly advance: (ms: number) => void;
  /** Ticks until the controller has nothing more to do. */
  readonly settle: () => void;
};

export type CallOptions = {
  readonly body?: unknown;
  readonly token?: string;
  readonly headers?: Readonly<Record<string, string>>;
};

export type ControllerOptions = {
  readonly environment?: Readonly<Record<string, string>>;
  readonly images?: ImageSource;
  /** Database file; in memory when there is none. */
  readonly file?: string;
  /** The clock's begin, for a second controller on the same file. */
  readonly startMs?: number;
  /** The number that the ids of this controller begin after [0]. */
  readonly firstId?: number;
  /** Left out, real ones. */
  readonly openProvider?: OpenProvider;
  readonly tracing?: Tracing;
};

const TICKS_MAX = 100;

export async function aController(options: ControllerOptions = {}): Promise<TestController> {
  const folder = aTemporaryDirectory();
  const config: Config = readConfig({
    STRATA_DATA: folder.path,
    // The clock stands still while a test asks thousands of times.
    STRATA_RATE_PER_MINUTE: "0",
    ...options.environment,
  });
  const time = { ms: options.startMs ?? Date.parse("2026-01-01T00:00:00Z") };
  // A second controller on a file makes other ids than the first.
  let ids = options.firstId ?? (options.startMs === undefined ? 0 : 1_000_000);
  const world = {
    config,
    logger: createLogger("silent"),
    ...(options.tracing === undefined ? {} : { tracing: options.tracing }),
    clock: { nowMs: () => time.ms, monotonicMs: () => time.ms },
    random: {
      newId: () => `x${String((ids += 1)).padStart(7, "0")}`,
      newSecret: () => `secret-${"0".repeat(24)}-${(ids += 1)}`,
      fraction: () => 0,
    },
  };
  const database = openDatabase(options.file ?? ":memory:");
  const state = openState(world, database);
  const tokenFile = join(config.dataDirectory, "admin-token");
  ensureAdminToken(state.store, tokenFile, world.random.newSecret);
  const adminToken = readFileSync(tokenFile, "utf8").trim();
  const metadata = createSqliteMetadataStore(":memory:");
  const services = createServices(world, state, {
    images: { ...emptyStore(metadata), ...(options.images ?? anImageSource()) },
    copyMetadata: metadata.copyTo,
    pki: {
      caPem: "PEM",
      ingress: await ensureIngressAuthority(join(folder.path, "ca"), time.ms),
      caFingerprint: "f".repeat(64),
      publicKeyPin: "pin",
      issueNodeCertificate: () => Promise.resolve(undefined),
      joinSecret: (id) => `joins-with-${id}-0000000000`,
    },
    publicPort: () => 7070,
    isStopping: () => false,
    ...(options.openProvider === undefined ? {} : { openProvider: options.openProvider }),
  });
  const ticks = createTicks(services);
  const { app, routes } = createApp(services, undefined);
  const request: TestController["request"] = async (path, init) => app.request(path, init);
  return {
    services,
    ticks,
    routes,
    adminToken,
    request,
    call: (method, path, callOptions = {}) =>
      call(request, { method, path, token: adminToken, ...callOptions }),
    advance: (ms) => {
      time.ms += ms;
    },
    settle: () => {
      ticks.expireNodes();
      while (ticks.autoscale());
      for (let tick = 0; ticks.reconcile(); tick += 1)
        if (tick > TICKS_MAX) throw new Error(`not settled after ${TICKS_MAX} ticks`);
    },
    [Symbol.asyncDispose]: async () => {
      services.rendezvous.close();
      state.nodeWakeups.close();
      state.eventWakeups.close();
      state.network.close();
      database.close();
      await folder[Symbol.asyncDispose]();
    },
  };
}

type Call = CallOptions & {
  readonly method: string;
  readonly path: string;
  readonly token: string;
};

async function call(
  request: TestController["request"],
  { method, path, token, body, headers }: Call,
): Promise<Answer> {
  const answer = await request(path, {
    method,
    headers: { ...(token === "" ? {} : { authorization: `Bearer ${token}` }), ...headers },
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  const text = await answer.text();
  const isJson = (answer.headers.get("content-type") ?? "").includes("json");
  return {
    status: answer.status,
    headers: answer.headers,
    body: isJson && text !== "" ? JSON.parse(text) : text,
  };
}

/** For the upkeep of the store; images come from the source beside it. */
function emptyStore(metadata: MetadataStore): Registry {
  return createRegistry({
    blobs: createMemoryBlobStore(),
    metadata,
    authorize: () => ({ kind: "allowed", subject: "test" }),
    clock: () => 0,
    newId: () => "upload",
    logger: createLogger("silent"),
  });
}

/** A store that has `hello:1`, `hello:2` (another digest, exposing 8080) and `artifact:1`, which cannot run. */
function anImageSource(): ImageSource {
  const blobs = new Map<string, Buffer>();
  const put = (value: object): { digest: string; size: number } => {
    const bytes = Buffer.from(JSON.stringify(value));
    const digest = digestOf(bytes);
    blobs.set(digest, bytes);
    return { digest, size: bytes.length };
  };
  const image = (config: object, fields: object): string =>
    put({
      schemaVersion: 2,
      mediaType: mediaTypes.manifest,
      config: { mediaType: mediaTypes.config, ...put(config) },
      layers: [],
      ...fields,
    }).digest;
  const config = (exposed: object): object => ({
    architecture: "amd64",
    os: "linux",
    config: { Cmd: ["/bin/hello"], ExposedPorts: exposed },
    rootfs: { type: "layers", diff_ids: [] },
  });
  const tags = new Map([
    ["hello:1", image(config({}), {})],
    ["hello:2", image(config({ "8080/tcp": {} }), {})],
    ["artifact:1", image({}, { artifactType: "text/plain" })],
  ]);
  return {
    resolve: async (repository, reference) => {
      const digest = tags.get(`${repository}:${reference}`) ?? reference;
      const body = blobs.get(digest);
      return body === undefined ? undefined : { digest, mediaType: mediaTypes.manifest, body };
    },
    readBlob: async ({ digest }) => blobs.get(digest),
  };
}
