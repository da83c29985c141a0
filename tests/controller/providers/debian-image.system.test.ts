/** The image that the tests of providers boot. Making it takes a minute or more, which is this file's time alone. */
import { execFileSync } from "node:child_process";

import { requireDebianImage } from "../../support/machines/debian-image.ts";
import { assert, suite } from "../../support/suite.ts";

suite("the image of a Debian machine", (test) => {
  test(
    "has what an agent needs, so that a first boot installs nothing",
    () => {
      const { tarFile } = requireDebianImage();
      const list = execFileSync("tar", ["-tf", tarFile], {
        encoding: "utf8",
        maxBuffer: 64 * 1024 ** 2,
      });
      const files = new Set(list.split("\n"));
      for (const name of [
        "bin/lxc-execute",
        "sbin/nft",
        "bin/curl",
        "bin/openssl",
        "bin/perl",
        "bin/cloud-init",
      ]) {
        assert.ok(files.has(`rootfs/usr/${name}`), name);
      }
    },
    { timeoutMs: 580_000 },
  );
});
