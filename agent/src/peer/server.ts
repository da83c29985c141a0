/** Serves this node's blobs to others of its partition: `GET /v2/{repository}/blobs/{digest}`, to whoever has a ticket of
 * the controller for just that. Blobs that are still on their way here are sent as far as they have come, and their
 * answer ends broken when they do not become whole. */
import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";

import { isPeerTicketGood } from "@strata/protocol/agent/peer-ticket";
import { type Digest, isDigest } from "@strata/protocol/oci/digest";
import { isRepository } from "@strata/protocol/oci/reference";

import type { Clock } from "../clock.ts";
import type { BlobCache, FollowedBlob } from "../image/blob-cache.ts";

export type PeerServerOptions = {
  readonly blobs: Pick<BlobCache, "follow">;
  readonly nodeId: string;
  /** For tickets. */
  readonly key: Buffer;
  readonly certificate: { readonly certPem: string; readonly keyPem: string };
  /** 0 takes a free one. */
  readonly port: number;
  readonly clock: Clock;
  /** Resolves when so many bytes may be sent. */
  readonly takeBytes: (bytes: number) => Promise<void>;
};

export type PeerServer = {
  readonly port: number;
  /** Cuts everybody off. */
  readonly close: () => Promise<void>;
};

/** Blobs sent at the same time, of all peers. */
const TRANSFERS_MAX = 16;
const CONNECTIONS_MAX = 64;
/** A peer that takes nothing for so long is cut off. */
const STALL_MS_MAX = 10_000;

/** Rejects with the system's EADDRINUSE. */
export async function startPeerServer(options: PeerServerOptions): Promise<PeerServer> {
  const { certificate, port } = options;
  const transfers = new Set<ServerResponse>();
  const server = createServer(
    {
      cert: certificate.certPem,
      key: certificate.keyPem,
      minVersion: "TLSv1.3",
      handshakeTimeout: 10_000,
      headersTimeout: 10_000,
      maxHeaderSize: 8192,
    },
    (request, response) => {
      void answer(options, transfers, { request, response });
    },
  );
  server.maxConnections = CONNECTIONS_MAX;
  const listening = Promise.withResolvers<void>();
  server.once("error", listening.reject);
  server.listen(port, listening.resolve);
  await listening.promise;
  server.off("error", listening.reject);
  // Such as a connection that is reset before it is taken.
  server.on("error", () => undefined);
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : port,
    close: async () => {
      const closed = Promise.withResolvers<void>();
      server.close(() => closed.resolve());
      for (const response of transfers) response.destroy();
      server.closeAllConnections();
      await closed.promise;
    },
  };
}

type Exchange = { readonly request: IncomingMessage; readonly response: ServerResponse };

async function answer(
  options: PeerServerOptions,
  transfers: Set<ServerResponse>,
  { request, response }: Exchange,
): Promise<void> {
  response.on("error", () => undefined);
  const wanted = parseRequest(request);
  if (wanted === undefined) return refuse(response, 404, "NAME_UNKNOWN");
  if (!isAllowed(options, wanted)) return refuse(response, 401, "UNAUTHORIZED");
  if (transfers.size >= TRANSFERS_MAX) return refuse(response, 503, "TOOMANYREQUESTS");
  using blob = options.blobs.follow(wanted.digest);
  if (blob === undefined) return refuse(response, 404, "BLOB_UNKNOWN");
  if (wanted.offset >= blob.size) return refuse(response, 416, "SIZE_INVALID");
  transfers.add(response);
  try {
    await send(options, { blob, offset: wanted.offset, response });
  } catch {
    // It will not become whole, or the peer is gone or too slow: a cut connection says so.
    response.destroy();
  } finally {
    transfers.delete(response);
  }
}

type Wanted = {
  readonly repository: string;
  readonly digest: Digest;
  readonly offset: number;
  readonly ticket: string;
};

/** Undefined for everything but the one request that there is. */
function parseRequest({ method, url = "", headers }: IncomingMessage): Wanted | undefined {
  const [, repository = "", digest = ""] = /^\/v2\/([^?]+)\/blobs\/([^/?]+)$/.exec(url) ?? [];
  const [, offset] = /^bytes=(\d{1,15})-$/.exec(headers.range ?? "bytes=0-") ?? [];
  const [, ticket = ""] = /^Bearer (\S+)$/.exec(headers.authorization ?? "") ?? [];
  const isGood = method === "GET" && isRepository(repository) && offset !== undefined;
  return isGood && isDigest(digest)
    ? { repository, digest, offset: Number(offset), ticket }
    : undefined;
}

function isAllowed(
  { key, nodeId, clock }: PeerServerOptions,
  { repository, digest, ticket }: Wanted,
): boolean {
  return isPeerTicketGood(key, { nodeId, repository, digest }, { ticket, nowMs: clock() });
}

async function send(
  { takeBytes }: PeerServerOptions,
  transfer: {
    readonly blob: FollowedBlob;
    readonly offset: number;
    readonly response: ServerResponse;
  },
): Promise<void> {
  const { blob, offset, response } = transfer;
  const { size } = blob;
  response.writeHead(offset === 0 ? 200 : 206, {
    "content-type": "application/octet-stream",
    "content-length": size - offset,
    ...(offset === 0 ? {} : { "content-range": `bytes ${offset}-${size - 1}/${size}` }),
  });
  // The peer shall know at once that it is at the right place.
  response.flushHeaders();
  const left = new AbortController();
  response.once("close", () => left.abort());
  for await (const chunk of blob.stream(offset, left.signal)) {
    await takeBytes(chunk.length);
    if (!response.write(chunk)) {
      const limit = AbortSignal.any([left.signal, AbortSignal.timeout(STALL_MS_MAX)]);
      await once(response, "drain", { signal: limit });
    }
  }
  if (!left.signal.aborted) response.end();
}

/** As the distribution spec says errors. */
function refuse(response: ServerResponse, status: number, code: string): void {
  const body = JSON.stringify({ errors: [{ code, message: code.toLowerCase() }] });
  response.writeHead(status, { "content-type": "application/json" }).end(body);
}
