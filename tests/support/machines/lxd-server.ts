import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import {
  chmodSync,
  createReadStream,
  mkdtempSync,
  openSync,
  readFileSync,
  rmdirSync,
  statfsSync,
} from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { createIncusClient, type IncusClient } from "@strata/controller/providers/incus-client";
import {
  createIncusConnection,
  type IncusConnection,
} from "@strata/controller/providers/incus-connection";

import { aTemporaryDirectory } from "../temporary.ts";

/** Debian's own lxd, started for one test file, with a pool of folders, a bridge of its own and one image. */
export type LxdServer = AsyncDisposable & {
  readonly endpoint: string;
  readonly folder: string;
  readonly network: string;
  readonly bridgeAddress: string;
  readonly client: IncusClient;
  /** Every instance there is, whoever made it. */
  readonly instances: () => Promise<readonly string[]>;
  /** Runs a shell script in an instance and gives back what it said; fails unless it exits with 0. */
  readonly run: (instance: string, script: string) => Promise<string>;
};

export const IMAGE_ALIAS = "debian-12";
const never = AbortSignal.timeout(600_000);
const START_ATTEMPTS = 200;

export async function aLxdServer(imageFile: string): Promise<LxdServer> {
  await using stack = new AsyncDisposableStack();
  const tables = nftTables();
  const folder = stack.use(aTemporaryDirectory()).path;
  stack.defer(() => removeNewTables(tables));
  const endpoint = `unix:${join(folder, "unix.socket")}`;
  const connection = createIncusConnection({ endpoint });
  const client = createIncusClient(connection, "default");

  const daemon = startDaemon(folder);
  stack.defer(() => stopDaemon(daemon));
  await waitUntilReady(client, daemon);

  const pool = makePoolFolder(folder);
  stack.defer(() => rmdirSync(pool));
  const suffix = randomBytes(1)[0] ?? 0;
  const network = `stlxd${suffix}`;
  stack.defer(() => removeAll(client, network));

  const bridgeAddress = `10.214.${suffix}.1`;
  const storage = { name: "default", driver: "dir", config: { source: pool } };
  await client.change({ method: "POST", path: "/storage-pools", body: storage }, never);
  await client.change(
    { method: "POST", path: "/networks", body: bridge(network, bridgeAddress) },
    never,
  );
  await importImage(client, join(folder, "unix.socket"), imageFile);

  const disposables = stack.move();
  return {
    endpoint,
    folder,
    network,
    bridgeAddress,
    client,
    instances: () => instanceNames(client),
    run: (instance, script) => runIn(client, connection, { instance, script }),
    [Symbol.asyncDispose]: () => disposables.disposeAsync(),
  };
}

function startDaemon(folder: string): ChildProcess {
  const log = openSync(join(folder, "daemon.log"), "w");
  return spawn("lxd", ["--group", "root"], {
    env: { ...process.env, LXD_DIR: folder },
    stdio: ["ignore", log, log],
  });
}

/** In memory where there is enough, since every instance unpacks and deletes ten thousand files. */
function makePoolFolder(folder: string): string {
  const { bavail, bsize } = statfsSync("/dev/shm");
  const parent = bavail * bsize > 4 * 1024 ** 3 ? "/dev/shm" : folder;
  const pool = mkdtempSync(join(parent, "strata-test-pool-"));
  // The root of an unprivileged container walks through it as somebody else.
  chmodSync(pool, 0o711);
  return pool;
}

async function waitUntilReady(client: IncusClient, daemon: ChildProcess): Promise<void> {
  for (let attempt = 0; attempt < START_ATTEMPTS; attempt += 1) {
    if (daemon.exitCode !== null) throw new Error(`lxd ended with ${daemon.exitCode}`);
    try {
      await client.get("", never);
      return;
    } catch {
      await sleep(100);
    }
  }
  throw new Error("lxd does not answer");
}

async function stopDaemon(daemon: ChildProcess): Promise<void> {
  if (daemon.exitCode !== null) return;
  const ended = once(daemon, "exit");
  daemon.kill("SIGTERM");
  await ended;
}

async function removeAll(client: IncusClient, network: string): Promise<void> {
  const remove = (path: string) => client.change({ method: "DELETE", path }, never);
  for (const name of await instanceNames(client)) {
    const body = { action: "stop", force: true };
    await client
      .change({ method: "PUT", path: `/instances/${name}/state`, body }, never)
      .catch(() => undefined);
    await remove(`/instances/${name}`);
  }
  for (const image of await namesOf(client, "/images")) await remove(`/images/${image}`);
  // The list has the host's other interfaces too.
  if (await client.get(`/networks/${network}`, never)) await remove(`/networks/${network}`);
  await remove("/storage-pools/default");
}

const instanceNames = (client: IncusClient) => namesOf(client, "/instances");

async function namesOf(client: IncusClient, path: string): Promise<readonly string[]> {
  const urls = await client.get(path, never);
  if (!Array.isArray(urls)) return [];
  return urls.map((url) => String(url).split("/").at(-1) ?? "");
}

/** Gives out addresses, and nothing else: no rules in the host's firewall, no names. */
function bridge(name: string, address: string): unknown {
  const config = {
    "ipv4.address": `${address}/24`,
    "ipv4.nat": "false",
    "ipv4.firewall": "false",
    "ipv6.address": "none",
    "dns.mode": "none",
  };
  return { name, type: "bridge", config };
}

/** Streams the image: it is too large for one body in memory. */
async function importImage(client: IncusClient, socketPath: string, file: string): Promise<void> {
  const headers = { "content-type": "application/octet-stream" };
  const outgoing = request({ socketPath, method: "POST", path: "/1.0/images", headers });
  const answered = once(outgoing, "response");
  createReadStream(file).pipe(outgoing);
  const [response] = await answered;
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  const { operation } = JSON.parse(Buffer.concat(chunks).toString());
  const done = await client.get(`${String(operation).replace("/1.0", "")}/wait`, never);
  const target = fingerprintOf(done);
  await client.change(
    { method: "POST", path: "/images/aliases", body: { name: IMAGE_ALIAS, target } },
    never,
  );
}

function fingerprintOf(operation: unknown): string {
  const text = /"fingerprint":"([0-9a-f]+)"/.exec(JSON.stringify(operation))?.[1];
  if (text === undefined)
    throw new Error(`the image was not imported: ${JSON.stringify(operation)}`);
  return text;
}

async function runIn(
  client: IncusClient,
  connection: IncusConnection,
  { instance, script }: { readonly instance: string; readonly script: string },
): Promise<string> {
  const headers = { "X-LXD-type": "file", "X-LXD-mode": "0700" };
  const path = `/instances/${instance}`;
  await client.change(
    { method: "POST", path: `${path}/files?path=/root/test.sh`, headers, body: script },
    never,
  );
  const body = {
    command: ["/bin/sh", "-c", "sh /root/test.sh >/root/test.out 2>&1"],
    environment: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
  };
  const ended = await client.change({ method: "POST", path: `${path}/exec`, body }, never);
  const output = await connection(
    { method: "GET", path: `/1.0${path}/files?path=/root/test.out` },
    never,
  );
  if (!JSON.stringify(ended).includes('"return":0')) throw new Error(`${instance}: ${output}`);
  return output;
}

function nftTables(): readonly string[] {
  return execFileSync("nft", ["list", "tables"], { encoding: "utf8" }).trim().split("\n");
}

/** lxd leaves its empty table behind. */
function removeNewTables(before: readonly string[]): void {
  if (before.includes("table inet lxd") || !nftTables().includes("table inet lxd")) return;
  execFileSync("nft", ["delete", "table", "inet", "lxd"]);
}

/** Mounts below a folder, as this machine has them now. */
export function mountsBelow(folder: string): readonly string[] {
  const lines = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
  return lines.filter((line) => line.includes(` ${folder}/`));
}
