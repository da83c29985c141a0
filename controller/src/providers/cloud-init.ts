import { stringify } from "yaml";

import type { FirstBoot } from "./first-boot.ts";

/** User data for cloud-init: a `#cloud-config` document with `write_files` and `runcmd`. It holds whatever secrets
 * the files hold. Pure. */
export function renderCloudConfig(firstBoot: FirstBoot): string {
  const document = {
    write_files: firstBoot.files.map((file) => ({
      path: file.path,
      permissions: file.mode,
      owner: "root:root",
      content: file.content,
    })),
    runcmd: [["sh", "-c", firstBoot.script]],
  };
  // Without folding, so that a script's lines stay as they are.
  return `#cloud-config\n${stringify(document, { lineWidth: 0 })}`;
}
