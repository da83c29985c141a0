import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";

import { mediaTypes } from "@strata/protocol/oci/media-type";
import { Pool } from "undici";

/** The administrator, with connections of their own. */
export type Client = AsyncDisposable & {
  /** @throws Error for any answer that is no success. */
  readonly call: (method: "GET" | "PUT" | "POST", path: string, body?: object) => Promise<unknown>;
  /** Pushes an image that could run, and nothing more, as `repository`:1. */
  readonly pushImage: (repository: string) => Promise<void>;
};

const CONNECTIONS = 16;

export function aClient({ url, token }: { readonly url: string; readonly token: string }): Client {
  const pool = new Pool(url, { connections: CONNECTIONS, headersTimeout: 120_000 });
  const send = async (
    method: string,
    path: string,
    {
      headers,
      body,
    }: { readonly headers: Record<string, string>; readonly body?: Buffer | string },
  ): Promise<string> => {
    const answer = await pool.request({ method, path, headers, body: body ?? null });
    const text = await answer.body.text();
    if (answer.statusCode >= 300)
      throw new Error(`${method} ${path}: ${answer.statusCode} ${text}`);
    return text;
  };
  return {
    call: async (method, path, body) => {
      const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
      const text = await send(method, path, {
        headers,
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      return text === "" ? undefined : JSON.parse(text);
    },
    pushImage: async (repository) => {
      const authorization = `Basic ${Buffer.from(`bench:${token}`).toString("base64")}`;
      const { manifest, blobs } = anImage();
      for (const body of blobs) {
        const path = `/v2/${repository}/blobs/uploads/?digest=${digestOf(body)}`;
        await send("POST", path, { headers: { authorization }, body });
      }
      await send("PUT", `/v2/${repository}/manifests/1`, {
        headers: { authorization, "content-type": mediaTypes.manifest },
        body: manifest,
      });
    },
    [Symbol.asyncDispose]: () => pool.close(),
  };
}

function anImage(): { readonly manifest: Buffer; readonly blobs: readonly Buffer[] } {
  // Two blocks of zeros: an archive with nothing in it.
  const tar = Buffer.alloc(1024);
  const layer = gzipSync(tar);
  const config = Buffer.from(
    JSON.stringify({
      architecture: "amd64",
      os: "linux",
      config: { Cmd: ["/bin/true"] },
      rootfs: { type: "layers", diff_ids: [digestOf(tar)] },
    }),
  );
  const describe = (mediaType: string, bytes: Buffer): object => ({
    mediaType,
    digest: digestOf(bytes),
    size: bytes.length,
  });
  const manifest = {
    schemaVersion: 2,
    mediaType: mediaTypes.manifest,
    config: describe(mediaTypes.config, config),
    layers: [describe(mediaTypes.layerGzip, layer)],
  };
  return { manifest: Buffer.from(JSON.stringify(manifest)), blobs: [config, layer] };
}

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}
