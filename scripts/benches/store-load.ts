import { execFile } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { closeSync, createReadStream, openSync, statSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

import { request } from "undici";

import { root } from "../root.ts";
import { timeMs } from "./measure.ts";
import { runPeer } from "./run-peer.ts";
import type { StoreServer } from "./store-servers.ts";

const MIB = 1024 * 1024;
const SCRIPT = join(root, "scripts/benches/store.lua");
const REPOSITORY = "bench/image";

/** A file of random bytes, and what it hashes to. */
export type Payload = {
  readonly path: string;
  readonly sizeBytes: number;
  readonly digest: string;
};

export async function makePayload(path: string, sizeMiB: number): Promise<Payload> {
  const file = openSync(path, "w");
  for (let written = 0; written < sizeMiB; written += 1) writeSync(file, randomBytes(MIB));
  closeSync(file);
  return describe(path, sizeMiB * MIB);
}

/** Other bytes of the same length, so that no registry has them yet. */
export async function renewPayload({ path, sizeBytes }: Payload): Promise<Payload> {
  const file = openSync(path, "r+");
  writeSync(file, randomBytes(64), 0, 64, 0);
  closeSync(file);
  return describe(path, sizeBytes);
}

async function describe(path: string, sizeBytes: number): Promise<Payload> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: MIB })) hash.update(chunk);
  return { path, sizeBytes, digest: `sha256:${hash.digest("hex")}` };
}

/** put: all in the closing request, as oras does; patch: streamed, then closed, as skopeo and podman do. */
export type PushWay = "put" | "patch";

export type Push = {
  readonly payload: Payload;
  readonly way: PushWay;
  /** For a steady load: bytes per second. */
  readonly limit?: number;
};

/** Gives the milliseconds from the first request to the last answer. */
export async function push(server: StoreServer, { payload, way, limit }: Push): Promise<number> {
  const rate = limit === undefined ? [] : ["--limit-rate", String(limit)];
  const send = async (method: string, url: URL, file: readonly string[]): Promise<URL> => {
    const flags = ["-sS", "--fail-with-body", "-X", method, "-H", "Expect:", "-D", "-"];
    const type = ["-H", "Content-Type: application/octet-stream"];
    const said = await runPeer("curl", ...flags, ...type, ...rate, ...file, url.href);
    const location = /^location: *(\S+)/im.exec(said)?.[1];
    if (location === undefined) throw new Error(`${server.name}: ${method} gave no Location`);
    return new URL(location, server.url);
  };
  const start = new URL(`/v2/${REPOSITORY}/blobs/uploads/`, server.url);
  const withBody = ["-T", payload.path];
  return timeMs(async () => {
    let upload = await send("POST", start, []);
    if (way === "patch") {
      const chunked = ["-H", "Transfer-Encoding: chunked"];
      upload = await send("PATCH", upload, [...withBody, ...chunked]);
    }
    upload.searchParams.set("digest", payload.digest);
    await send("PUT", upload, way === "put" ? withBody : []);
  });
}

/** An image of this one layer, tagged; gives the path of its manifest. */
export async function pushImage(
  server: StoreServer,
  { layer, folder }: { readonly layer: Payload; readonly folder: string },
): Promise<string> {
  const path = join(folder, "config.json");
  writeFileSync(path, JSON.stringify({ architecture: "amd64", os: "linux" }));
  const config = await describe(path, statSync(path).size);
  for (const payload of [config, layer]) await push(server, { payload, way: "put" });
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const descriptor = (type: string, { digest, sizeBytes }: Payload): object => ({
    mediaType: `application/vnd.oci.image.${type}`,
    digest,
    size: sizeBytes,
  });
  const manifest = {
    schemaVersion: 2,
    mediaType,
    config: descriptor("config.v1+json", config),
    layers: [descriptor("layer.v1.tar", layer)],
  };
  const place = `/v2/${REPOSITORY}/manifests/latest`;
  const { statusCode, body } = await request(new URL(place, server.url), {
    method: "PUT",
    headers: { "content-type": mediaType },
    body: JSON.stringify(manifest),
  });
  const said = await body.text();
  if (statusCode !== 201) throw new Error(`${server.name}: manifest: ${statusCode} ${said}`);
  return place;
}

export function blobPath({ digest }: Payload): string {
  return `/v2/${REPOSITORY}/blobs/${digest}`;
}

export type Load = {
  readonly path: string;
  readonly clients: number;
  readonly seconds: number;
  /** Ask for 64 KiB at random places of so many bytes. */
  readonly rangesOfBytes?: number;
};

export type LoadFigures = {
  readonly requestsPerSecond: number;
  readonly bytesPerSecond: number;
  readonly p99Ms: number;
};

const THREADS_MAX = 2;

/** wrk, whose clients ask again at once. */
export async function runLoad(server: StoreServer, load: Load): Promise<LoadFigures> {
  const { path, clients, seconds, rangesOfBytes } = load;
  const threads = Math.min(clients, THREADS_MAX);
  const flags = [`-t${threads}`, `-c${clients}`, `-d${seconds}s`, "--timeout", "30s"];
  const size = rangesOfBytes === undefined ? [] : [String(rangesOfBytes)];
  const said = await runPeer("wrk", ...flags, "-s", SCRIPT, server.url, "--", path, ...size);
  const figures = parseFigures(said.slice(said.lastIndexOf("{")));
  if (figures.failed > 0) throw new Error(`${server.name}: ${figures.failed} of ${path} failed`);
  const elapsed = figures.durationUs / 1e6;
  return {
    requestsPerSecond: figures.requests / elapsed,
    bytesPerSecond: figures.bytes / elapsed,
    p99Ms: figures.p99Us / 1000,
  };
}

type WrkFigures = Readonly<
  Record<"requests" | "bytes" | "durationUs" | "p99Us" | "failed", number>
>;

function parseFigures(text: string): WrkFigures {
  // The script beside this file writes it.
  return JSON.parse(text) as WrkFigures;
}

/** Downloads a blob again and again at a steady rate until the signal; gives nothing. */
export async function downloadSteadily(
  server: StoreServer,
  path: string,
  { bytesPerSecond, signal }: { readonly bytesPerSecond: number; readonly signal: AbortSignal },
): Promise<void> {
  const url = new URL(path, server.url).href;
  const flags = ["-sS", "-o", "/dev/null", "--limit-rate", String(bytesPerSecond)];
  while (!signal.aborted) {
    await promisify(execFile)("curl", [...flags, url], { signal }).catch((error: unknown) => {
      if (!signal.aborted) throw error;
    });
  }
}
