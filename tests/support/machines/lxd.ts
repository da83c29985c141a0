import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdtempSync, openSync, rmdirSync, statfsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { createIncusClient, type IncusClient } from "@strata/controller/providers/incus-client";
import {
  createIncusConnection,
  type IncusConnection,
} from "@strata/controller/providers/incus-connection";

import { aTemporaryDirectory } from "../temporary.ts";
import { requireDebianImage } from "./debian-image.ts";
import { addBridge, addPool, importImage, instanceNames, removeAll } from "./lxd-contents.ts";

/** Debian's own lxd, started for one scope: a pool of folders, a bridge of its own and one image, with all that an agent
 * needs. Instances are nested containers that boot in a second; they reach this machine at `bridgeAddress`, and this
 * machine reaches theirs. At the end of the scope all of it is gone, instances included; so an installation that makes
 * instances is declared after it, and ends before it:
 *
 *     await using lxd = await anLxd();
 *     await using strata = await aRunningInstance();
 *     const provider = createProvider(ProviderSettings.parse(lxd.settings), …);
 *     const controllerUrl = `https://${lxd.bridgeAddress}:${strata.instance.settings["STRATA_PORT"]}`;
 */
export type Lxd = AsyncDisposable & {
  /** As a person writes them: a provider whose instances can be nodes. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly folder: string;
  readonly network: string;
  readonly bridgeAddress: string;
  readonly client: IncusClient;
  /** Every instance there is, whoever made it. */
  readonly instances: () => Promise<readonly string[]>;
  /** Runs a shell script in an instance and gives back what it said; fails unless it exits with 0. */
  readonly run: (instance: string, script: string) => Promise<string>;
  /** Ends an instance as a power cut does. */
  readonly kill: (instance: string) => Promise<void>;
};

/** What a request names to have the one image. */
export const IMAGE_ALIAS = "debian-12";

const never = new AbortController().signal;
const START_ATTEMPTS = 600;

export async function anLxd(): Promise<Lxd> {
  const { tarFile } = requireDebianImage();
  await using stack = new AsyncDisposableStack();
  const tables = nftTables();
  const folder = stack.use(aTemporaryDirectory()).path;
  stack.defer(() => removeNewTables(tables));
  const socketPath = join(folder, "unix.socket");
  const endpoint = `unix:${socketPath}`;
  const connection = createIncusConnection({ endpoint });
  const client = createIncusClient(connection, "default");

  const daemon = startDaemon(folder);
  stack.defer(() => stopDaemon(daemon));
  await waitUntilReady(client, daemon);

  const pool = makePoolFolder(folder);
  stack.defer(() => rmdirSync(pool));
  const { network, bridgeAddress } = findFreeNetwork();
  stack.defer(() => removeAll(client, network));
  await addPool(client, pool);
  await addBridge(client, network, bridgeAddress);
  await importImage(client, socketPath, { file: tarFile, alias: IMAGE_ALIAS });

  const disposables = stack.move();
  return {
    settings: {
      kind: "incus",
      endpoint,
      network,
      instances: "container",
      privileged: true,
      firstBoot: "exec",
    },
    folder,
    network,
    bridgeAddress,
    client,
    instances: () => instanceNames(client),
    run: (instance, script) => runIn(client, connection, { instance, script }),
    kill: async (instance) => {
      const body = { action: "stop", force: true };
      await client.change({ method: "PUT", path: `/instances/${instance}/state`, body }, never);
    },
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

/** A /24 of 10.214.0.0/16 that no other lxd of a test has now. */
function findFreeNetwork(): { readonly network: string; readonly bridgeAddress: string } {
  const first = process.pid % 256;
  for (let step = 0; step < 256; step += 1) {
    const number = (first + step) % 256;
    const network = `stlxd${number}`;
    if (!existsSync(`/sys/class/net/${network}`)) {
      return { network, bridgeAddress: `10.214.${number}.1` };
    }
  }
  throw new Error("every network of 10.214.0.0/16 is taken");
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
