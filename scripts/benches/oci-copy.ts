import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import type { Instance } from "../instance/instance.ts";
import { runPeer } from "./run-peer.ts";

export type ImageToCopy = {
  readonly repository: string;
  readonly tag: string;
  readonly folder: string;
};

/** Copies an image out of the instance's store, so that all contestants run the very same bytes; gives `LAYOUT:TAG`. */
export async function copyImage(
  { data, url }: Instance,
  { repository, tag, folder }: ImageToCopy,
): Promise<string> {
  const { host } = new URL(url);
  const token = readFileSync(join(data, "admin-token"), "utf8").trim();
  const auth = Buffer.from(`admin:${token}`).toString("base64");
  const authFile = join(folder, "auth.json");
  writeFileSync(authFile, JSON.stringify({ auths: { [host]: { auth } } }), { mode: 0o600 });
  const target = `${join(folder, "layout")}:${tag}`;
  await runPeer(
    "skopeo",
    "copy",
    "--src-tls-verify=false",
    "--authfile",
    authFile,
    `docker://${host}/${repository}:${tag}`,
    `oci:${target}`,
  );
  return target;
}
