import { gzipSync } from "node:zlib";

import { mediaTypes } from "@strata/protocol/oci/media-type";

import { anImage } from "./images.ts";
import { createClient, digestOf } from "./registry-client.ts";

/** Pushes an image that could run, another one for each command, to the store at `url`, with a token as the password. Returns its digest. */
export async function pushImage(
  { url, token }: { readonly url: string; readonly token: string },
  {
    repository,
    tag,
    command = "/bin/true",
  }: { readonly repository: string; readonly tag: string; readonly command?: string },
): Promise<string> {
  const client = createClient(url);
  const headers = { authorization: `Basic ${Buffer.from(`x:${token}`).toString("base64")}` };
  // Two blocks of zeros: an archive with nothing in it.
  const tar = Buffer.alloc(1024);
  const config = Buffer.from(
    JSON.stringify({
      architecture: "amd64",
      os: "linux",
      config: { Cmd: [command] },
      rootfs: { type: "layers", diff_ids: [digestOf(tar)] },
    }),
  );
  const image = anImage({ config, layers: [gzipSync(tar)] });
  for (const blob of image.blobs) {
    const path = `/v2/${repository}/blobs/uploads/?digest=${digestOf(blob)}`;
    const { status } = await client.send("POST", path, { headers, body: blob });
    if (status !== 201) throw new Error(`blob: ${status}`);
  }
  const { status } = await client.send("PUT", `/v2/${repository}/manifests/${tag}`, {
    headers: { ...headers, "content-type": mediaTypes.manifest },
    body: image.manifest.bytes,
  });
  if (status !== 201) throw new Error(`manifest: ${status}`);
  return image.manifest.digest;
}
