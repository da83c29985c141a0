import { copyFileSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import type { ImageSource } from "@strata/agent/container/image-source";
import type { ImageConfig } from "@strata/protocol/oci/image";

const applets =
  "sh sleep ls cat id httpd env echo kill true false mount dd head ip nc stat hostname touch mknod unshare " +
  "grep pwd stty tail mkdir rm tty";

export type ImageOptions = {
  readonly config?: ImageConfig["config"];
  /** Changes the layer before it is used. */
  readonly change?: (layer: string) => void;
};

/** One layer made of the distribution's static busybox, as the image store would hand it out. */
export function aBusyboxImage(folder: string, { config, change }: ImageOptions = {}): ImageSource {
  const layer = join(folder, "busybox-layer");
  for (const name of ["bin", "etc", "tmp", "root", "var/www"]) {
    mkdirSync(join(layer, name), { recursive: true });
  }
  copyFileSync("/bin/busybox", join(layer, "bin/busybox"));
  for (const applet of applets.split(" ")) symlinkSync("busybox", join(layer, "bin", applet));
  writeFileSync(
    join(layer, "etc/passwd"),
    "root:x:0:0:root:/root:/bin/sh\nwww:x:33:33:www:/var/www:/bin/sh\n",
  );
  writeFileSync(join(layer, "etc/group"), "root:x:0:\nwww:x:33:\nstaff:x:50:\n");
  change?.(layer);
  return {
    ensure: () =>
      Promise.resolve({
        config: {
          architecture: "amd64",
          os: "linux",
          config,
          rootfs: { type: "layers", diff_ids: [] },
        },
        layers: [{ directory: layer }],
      }),
  };
}
