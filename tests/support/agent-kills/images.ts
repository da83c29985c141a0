import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";

import { type AppImage, anAppImage } from "../../agent/image/an-app-image.ts";
import { aTar, dir, file, symlink } from "../../agent/layer/tar-builder.ts";

const FILES = 24;
const FILE_BYTES = 6000;

const applets = ["sh", "sleep", "dd", "kill", "true"];

/** Images of three layers: a busybox that all have in common, and two of their own. */
export function someImages(count: number): readonly AppImage[] {
  const busybox = aTar([
    ...["bin", "etc", "tmp"].map((name) => dir(name)),
    { name: "bin/busybox", mode: 0o755, body: readFileSync("/bin/busybox") },
    ...applets.map((name) => symlink(`bin/${name}`, "busybox")),
    file("etc/passwd", "root:x:0:0:root:/:/bin/sh\n"),
    file("etc/group", "root:x:0:\n"),
  ]);
  return Array.from({ length: count }, () => anAppImage([busybox, ownLayer("a"), ownLayer("b")]));
}

function ownLayer(name: string): Buffer {
  const files = Array.from({ length: FILES }, (_, index) => ({
    name: `${name}/${index}`,
    body: randomBytes(FILE_BYTES),
  }));
  return aTar([dir(name), ...files]);
}
