import { spawn } from "node:child_process";
import { once } from "node:events";
import { chownSync } from "node:fs";
import { join } from "node:path";

import type { Contestant } from "./bench.ts";
import { timeMs } from "./measure.ts";
import { runPeer } from "./run-peer.ts";

export type Peer = AsyncDisposable & { readonly contestant: Contestant };

const IMAGE = "localhost/bench:latest";
const REMOVE_ATTEMPTS = 5;

/** podman with its bridge and a user namespace, in a storage of its own. `layout` is `FOLDER:TAG`. */
export async function aPodman(layout: string, folder: string): Promise<Peer> {
  const [root, runRoot] = [join(folder, "podman"), join(folder, "podman-run")];
  const home = await aNamespace();
  const podman = (...args: readonly string[]): Promise<string> =>
    home.run("podman", ...storage(root, runRoot), "--cgroup-manager=cgroupfs", ...args);
  const target = `containers-storage:[overlay@${root}+${runRoot}]${IMAGE}`;
  await home.run("skopeo", "copy", `oci:${layout}`, target);
  return {
    contestant: {
      name: "podman",
      measure: async (round) => {
        const name = `bench-${round}`;
        const taken = await timeMs(() => podman("run", "-d", "--name", name, ...runFlags, IMAGE));
        await persist(() => podman("rm", "-f", "-t", "0", name));
        return taken;
      },
    },
    [Symbol.asyncDispose]: async () => {
      await persist(() => podman("rm", "-f", "-a", "-t", "0"));
      await home[Symbol.asyncDispose]();
    },
  };
}

function storage(root: string, runRoot: string): readonly string[] {
  return ["--root", root, "--runroot", runRoot, "--storage-driver", "overlay"];
}

/** The two ulimits are those that a limited machine grants; without them crun refuses to start there. */
const runFlags: readonly string[] = [
  "--pull=never",
  "--uidmap=0:200000:65536",
  "--gidmap=0:200000:65536",
  "--ulimit=nofile=1024:4096",
  "--ulimit=nproc=8192:8192",
];

type Namespace = AsyncDisposable & {
  readonly run: (program: string, ...args: readonly string[]) => Promise<string>;
};

/** A mount and a network namespace for all that podman does: its bridge, rules and mounts end with it. Debian 12's crun
 * refuses machines with both cgroup versions mounted; in here the second one is hidden. Entering costs 1 ms. */
async function aNamespace(): Promise<Namespace> {
  const script =
    "umount /sys/fs/cgroup/unified 2>/dev/null; mkdir -p /var/lib/cni /run/netns && " +
    "mount -t tmpfs tmpfs /var/lib/cni && mount -t tmpfs tmpfs /run/netns && " +
    "ip link set lo up && echo ready && exec sleep infinity";
  const holder = spawn(
    "unshare",
    ["--mount", "--net", "--propagation", "private", "sh", "-c", script],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  await Promise.race([
    once(holder.stdout, "data"),
    once(holder, "exit").then(() => {
      throw new Error("a namespace for podman could not be made");
    }),
  ]);
  const flags = [`--target=${holder.pid}`, "--mount", "--net", "--"];
  return {
    run: (...command) => runPeer("nsenter", ...flags, ...command),
    [Symbol.asyncDispose]: async () => {
      const ended = once(holder, "exit");
      holder.kill("SIGKILL");
      await ended;
      // Podman gives it to the user of its container, whom nobody else knows.
      chownSync("/dev/null", 0, 0);
    },
  };
}

/** podman's removal loses a race with the kernel now and then: "device or resource busy". */
async function persist(work: () => Promise<unknown>): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await work();
      return;
    } catch (error) {
      if (attempt === REMOVE_ATTEMPTS) throw error;
    }
  }
}
