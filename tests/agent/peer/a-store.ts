import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";

import { digestOf } from "../../support/registry-client.ts";
import type { AppImage } from "../image/an-app-image.ts";

export type TestRegistry = AsyncDisposable & {
  readonly url: string;
  /** Each request for a layer: the offset that it began at. */
  readonly blobRequests: readonly number[];
  /** From now on a blob's answer stops after so many bytes, until `release`. */
  readonly holdAfter: (bytes: number) => void;
  readonly release: () => void;
};

/** A registry of one image that knows Range, counts who asks for blobs, and stops in the middle of one when told to. */
export async function aStore(image: AppImage): Promise<TestRegistry> {
  const [config = Buffer.alloc(0), ...layers] = image.blobs;
  const layerOf = new Map(layers.map((layer) => [digestOf(layer), layer]));
  const blobRequests: number[] = [];
  const held = new Set<() => void>();
  let holdBytes = Infinity;
  const sendBlob = (response: ServerResponse, bytes: Buffer, range: string | undefined): void => {
    const offset = Number(/^bytes=(\d+)-$/.exec(range ?? "")?.[1] ?? 0);
    blobRequests.push(offset);
    response.writeHead(range === undefined ? 200 : 206, {
      "content-length": bytes.length - offset,
      ...(range === undefined
        ? {}
        : { "content-range": `bytes ${offset}-${bytes.length - 1}/${bytes.length}` }),
    });
    const end = (): void => void response.end(bytes.subarray(Math.max(offset, holdBytes)));
    if (offset + holdBytes >= bytes.length) return void response.end(bytes.subarray(offset));
    response.write(bytes.subarray(offset, holdBytes));
    held.add(end);
  };
  const server = createServer((request, response) => {
    const [, kind, digest = ""] = /\/(manifests|blobs)\/(.+)$/.exec(request.url ?? "") ?? [];
    const layer = layerOf.get(digest);
    if (kind === "manifests" && digest === image.manifest.digest)
      response
        .writeHead(200, { "content-type": image.manifest.mediaType })
        .end(image.manifest.bytes);
    else if (kind === "blobs" && layer !== undefined)
      sendBlob(response, layer, request.headers.range);
    else if (kind === "blobs" && digest === digestOf(config)) response.end(config);
    else response.writeHead(404).end();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the registry has no port");
  return {
    url: `http://127.0.0.1:${address.port}`,
    blobRequests,
    holdAfter: (bytes) => (holdBytes = bytes),
    release: () => {
      for (const end of held) end();
      held.clear();
      holdBytes = Infinity;
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
