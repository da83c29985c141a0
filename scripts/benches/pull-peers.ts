import { mkdirSync } from "node:fs";
import { join } from "node:path";

import type { Contestant } from "./bench.ts";
import { timeMs } from "./measure.ts";
import type { PullImage } from "./pull-images.ts";
import { runPeer } from "./run-peer.ts";

/** `reference` is `HOST:PORT/REPOSITORY:TAG` of a registry without TLS. */
export function podman(reference: string, folder: string): Contestant {
  return {
    name: "podman",
    measure: (round) => {
      const at = (part: string): string => join(folder, String(round), part);
      // podman wants the last of these paths to be at most 50 characters long. Drivers other than overlay copy; this one keeps no mount after a pull.
      const storage = ["--root", at("root"), "--runroot", at("r"), "--storage-driver", "overlay"];
      const pull = ["pull", "-q", "--tls-verify=false", reference];
      return timeMs(() => runPeer("podman", ...storage, "--cgroup-manager=cgroupfs", ...pull));
    },
  };
}

export function skopeoAndUmoci(reference: string, folder: string): Contestant {
  return {
    name: "skopeo+umoci",
    measure: (round) => {
      const own = join(folder, String(round));
      const image = `${join(own, "layout")}:latest`;
      mkdirSync(own, { recursive: true });
      const copy = ["copy", "-q", "--src-tls-verify=false"];
      return timeMs(async () => {
        await runPeer("skopeo", ...copy, `docker://${reference}`, `oci:${image}`);
        await runPeer("umoci", "unpack", "--image", image, join(own, "bundle"));
      });
    },
  };
}

/** Floors: the layers' archives one after the other into one folder, from the disk. They check no digest, know no
 * whiteouts and do not sync. */
export function tarOnly(image: PullImage, folder: string): Contestant {
  return floor(image, { name: "tar -xzf", folder, command: 'tar -xzf "$layer" -C "$to"' });
}

export function pigzAndTar(image: PullImage, folder: string): Contestant {
  return floor(image, {
    name: "pigz + tar",
    folder,
    command: 'pigz -dc "$layer" | tar -x -C "$to"',
  });
}

function floor(
  { layers }: PullImage,
  {
    name,
    folder,
    command,
  }: { readonly name: string; readonly folder: string; readonly command: string },
): Contestant {
  const script = `to=$1; shift; for layer; do ${command} || exit; done`;
  return {
    name,
    measure: (round) => {
      const to = join(folder, String(round));
      mkdirSync(to, { recursive: true });
      return timeMs(() => runPeer("sh", "-c", script, "sh", to, ...layers));
    },
  };
}
