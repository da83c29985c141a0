import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { listPids } from "@strata/agent/cgroup/group-folder";
import { readCgroupMounts } from "@strata/agent/cgroup/mounts";

import type { Instance } from "../instance/instance.ts";
import type { Contestant } from "./bench.ts";
import { timeMs } from "./measure.ts";
import { meanOf, readPssKib, sumOf } from "./node-processes.ts";
import type { Peer } from "./podman.ts";
import { runPeer } from "./run-peer.ts";

const ID_BASE = 300_000;
const ID_RANGE_SIZE = 65_536;
const MEMORY_BYTES = 256 * 1024 ** 2;
/** The part of the installation's subnet that its agent gives out last. */
const ADDRESSES_FROM = 240 * 256;

export type BareLxcOptions = {
  readonly folder: string;
  readonly instance: Instance;
  /** The agent's process whose configuration is taken over. */
  readonly like: string;
  readonly command: readonly string[];
};

export type BareLxc = Peer & {
  /** Starts one by `lxc-execute`, which leaves it in the background once it runs. */
  readonly execute: (name: string) => Promise<void>;
  readonly stop: (name: string) => Promise<void>;
  /** What one takes beyond its application: mean over all, proportional share. */
  readonly overheadKib: (names: readonly string[]) => number;
};

/** LXC's own tools on the unpacked image, with the same isolation: the configuration is the one that the agent wrote
 * for a process of its own, but for names, ids, address and root file system. What the agent does besides is left
 * out: a layer that is shared, a fresh writable one for each start, a log, the exit code. */
export async function aBareLxc(layout: string, options: BareLxcOptions): Promise<BareLxc> {
  const { folder, command } = options;
  const bundle = join(folder, "bundle");
  await runPeer("umoci", "unpack", "--image", layout, bundle);
  const rootfs = join(bundle, "rootfs");
  await runPeer("chown", "-hR", `${ID_BASE}:${ID_BASE}`, rootfs);
  await runPeer("chmod", "755", folder, bundle);
  const containers = join(folder, "lxc");
  mkdirSync(containers);
  const template = readConfig(options, rootfs);
  let made = 0;
  const started = new Set<string>();
  const lxc = (verb: string, name: string, ...args: readonly string[]): Promise<string> =>
    runPeer(`lxc-${verb}`, "-P", containers, "-n", name, ...args);
  const configOf = (name: string): string => {
    made += 1;
    started.add(name);
    const path = join(folder, `${name}.conf`);
    writeFileSync(path, template(made));
    return path;
  };
  const stop = async (name: string): Promise<void> => {
    await lxc("stop", name, "-k");
    started.delete(name);
  };
  return {
    contestant: {
      name: "lxc-start",
      measure: async (round) => {
        const name = `bench-${round}`;
        const init = `lxc.init.cmd=${command.join(" ")}`;
        const config = configOf(name);
        const taken = await timeMs(() => lxc("start", name, "-f", config, "-s", init));
        await stop(name);
        return taken;
      },
    } satisfies Contestant,
    execute: async (name) => {
      await lxc("execute", name, "-f", configOf(name), "-d", "--", ...command);
    },
    stop,
    overheadKib: (names) => meanOf(names.map(overheadOf)),
    // The folder is the caller's; what it stopped itself is gone already.
    [Symbol.asyncDispose]: async () => {
      for (const name of started) await stop(name).catch(() => undefined);
    },
  };
}

/** The lines of the agent's configuration, with what differs from container to container replaced. */
function readConfig(
  { instance, like }: BareLxcOptions,
  rootfs: string,
): (number: number) => string {
  const runs = join(instance.run, "agent/runs");
  const [run] = readdirSync(runs).filter((name) => name.startsWith(like));
  const lines = readFileSync(join(runs, run ?? like, "config"), "utf8")
    .split("\n")
    .filter((line) => !/^lxc\.(cgroup|net\.0\.veth\.pair|net\.0\.ipv6)/.test(line))
    .map((line) =>
      line
        .replace(/^(lxc\.rootfs\.path) =.*/, `$1 = dir:${rootfs}`)
        .replace(/^(lxc\.init\.cwd) =.*/, `$1 = "/"`)
        .replace(/^(lxc\.idmap = "[ug] 0) .*/, `$1 ${ID_BASE} ${ID_RANGE_SIZE}"`),
    );
  const limits = limitLines();
  return (number) => {
    const last = ADDRESSES_FROM + number;
    const address = `$1${Math.floor(last / 256)}.${last % 256}$2`;
    return [...lines, ...limits, ""]
      .map((line) =>
        line.replace(/^(lxc\.net\.0\.ipv4\.address = "\d+\.\d+\.)[\d.]+(\/.*)/, address),
      )
      .join("\n");
  };
}

/** The agent sets its limits itself; here LXC does. */
function limitLines(): readonly string[] {
  return readCgroupMounts().legacy.has("memory")
    ? [
        `lxc.cgroup.memory.limit_in_bytes = ${MEMORY_BYTES}`,
        "lxc.cgroup.cpu.cfs_quota_us = 100000",
        "lxc.cgroup.pids.max = 512",
      ]
    : [
        `lxc.cgroup2.memory.max = ${MEMORY_BYTES}`,
        "lxc.cgroup2.cpu.max = 100000 100000",
        "lxc.cgroup2.pids.max = 512",
      ];
}

/** LXC's monitor, and its first process in the container; the second one is the application. */
function overheadOf(name: string): number {
  const { legacy, unified } = readCgroupMounts();
  const mount = legacy.get("pids") ?? unified ?? "";
  const [init = 0] = listPids(join(mount, `lxc.payload.${name}`)).toSorted((a, b) => a - b);
  return sumOf([...listPids(join(mount, `lxc.monitor.${name}`)), init].map(readPssKib));
}
