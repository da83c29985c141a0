import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { timeMs } from "./measure.ts";
import type { Peer } from "./podman.ts";
import { runPeer } from "./run-peer.ts";

const ID_BASE = 300_000;

export type BareLxcOptions = { readonly folder: string; readonly bridge: string | undefined };

/** `lxc-start` on the unpacked image, with a user namespace and a veth on the bridge: the least that LXC itself needs. */
export async function aBareLxc(layout: string, options: BareLxcOptions): Promise<Peer> {
  const { folder, bridge = "strata0" } = options;
  const bundle = join(folder, "bundle");
  await runPeer("umoci", "unpack", "--image", layout, bundle);
  const rootfs = join(bundle, "rootfs");
  await runPeer("chown", "-hR", `${ID_BASE}:${ID_BASE}`, rootfs);
  await runPeer("chmod", "755", folder, bundle);
  const containers = join(folder, "lxc");
  mkdirSync(containers);
  const config = join(folder, "lxc.conf");
  writeFileSync(config, renderConfig(rootfs, bridge));
  const lxc = (verb: string, name: string, ...args: readonly string[]): Promise<string> =>
    runPeer(`lxc-${verb}`, "-P", containers, "-n", name, ...args);
  return {
    contestant: {
      name: "lxc-start",
      measure: async (round) => {
        const name = `bench-${round}`;
        const taken = await timeMs(() => lxc("start", name, "-f", config));
        await lxc("stop", name, "-k");
        return taken;
      },
    },
    [Symbol.asyncDispose]: () => Promise.resolve(), // Each round stops its own; the folder is the caller's.
  };
}

function renderConfig(rootfs: string, bridge: string): string {
  return [
    `lxc.rootfs.path = dir:${rootfs}`,
    `lxc.idmap = u 0 ${ID_BASE} 65536`,
    `lxc.idmap = g 0 ${ID_BASE} 65536`,
    "lxc.net.0.type = veth",
    `lxc.net.0.link = ${bridge}`,
    "lxc.net.0.flags = up",
    "lxc.mount.auto = proc:mixed sys:ro",
    "lxc.autodev = 1",
    "lxc.tty.max = 0",
    "lxc.init.cmd = /bin/hello",
    "",
  ].join("\n");
}
