/** This node among those of its partition: it serves them what it has of images, and fetches from them what it needs. */
import { createHash } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";

import { derivePeerKey } from "@strata/protocol/agent/peer-ticket";
import { getErrorCode } from "@strata/protocol/errors";
import type { Digest } from "@strata/protocol/oci/digest";
import type { Logger } from "pino";

import type { Clock } from "../clock.ts";
import type { NodeClient } from "../controller-client.ts";
import type { Identity } from "../identity.ts";
import type { BlobCache } from "../image/blob-cache.ts";
import type { BlobSource } from "../image/blob-source.ts";
import { defaultRetryPolicy, pause, type RetryPolicy } from "../image/retry.ts";
import { Announcer } from "./announcer.ts";
import { obtainCertificate, type OwnCertificate } from "./certificate.ts";
import { createRateLimit } from "./rate-limit.ts";
import { type PeerServer, startPeerServer } from "./server.ts";
import { createPeerSource } from "./source.ts";

export type PeerOptions = {
  readonly identity: Pick<Identity, "nodeId" | "credential" | "caPem">;
  readonly client: Pick<NodeClient, "announceBlobs" | "findPeer" | "certify">;
  /** One life of this program. */
  readonly bootId: string;
  /** Undefined: it serves nothing; 0: a free one. */
  readonly port: number | undefined;
  /** To all other nodes together. */
  readonly bytesPerSecond: number;
  readonly clock: Clock;
  readonly logger: Logger;
};

export type Peer = {
  /** For the cache, whose blobs are served. */
  readonly onBlobChange: (digest: Digest) => void;
  /** Begins to serve and to announce what `blobs` has, and gives the source of what others have. */
  readonly join: (blobs: BlobCache) => BlobSource;
  /** The controller's answer to a report. */
  readonly heard: (answer: { readonly controllerBootId?: string | undefined }) => void;
  readonly close: () => Promise<void>;
};

/** A certificate that ends sooner is renewed. */
const RENEW_BEFORE_MS = 10 * 86_400_000;
const RENEWAL_CHECK_MS = 3_600_000;
const patience: RetryPolicy = { ...defaultRetryPolicy, delayMs: 500, delayMaxMs: 30_000 };

export function createPeer(options: PeerOptions): Peer {
  const { client, bootId, logger } = options;
  const stop = new AbortController();
  let cache: BlobCache | undefined;
  let certificate: OwnCertificate | undefined;
  let serving = Promise.resolve();
  const announcer = new Announcer({
    announce: client.announceBlobs,
    blobs: () => cache ?? { list: () => [], stateOf: () => undefined },
    bootId,
    logger,
  });
  return {
    onBlobChange: (digest) => announcer.changed(digest),
    heard: ({ controllerBootId }) => announcer.heard(controllerBootId),
    join: (blobs) => {
      cache = blobs;
      serving = serve(options, {
        blobs,
        signal: stop.signal,
        onCertificate: (own) => (certificate = own),
        onPort: (port) => announcer.setPort(port),
      });
      void announcer.run();
      return createPeerSource({
        find: async (search, signal) => {
          await announcer.settled();
          return client.findPeer(search, signal);
        },
        blobs,
        caPem: () => options.identity.caPem ?? certificate?.caPem,
        logger,
      });
    },
    close: async () => {
      stop.abort();
      announcer.close();
      await serving;
    },
  };
}

type Serving = {
  readonly blobs: BlobCache;
  readonly signal: AbortSignal;
  readonly onCertificate: (own: OwnCertificate) => void;
  readonly onPort: (port: number) => void;
};

/** Runs until the signal aborts. Whatever is amiss costs other nodes this source and nothing else. */
async function serve(options: PeerOptions, serving: Serving): Promise<void> {
  const { client, clock, logger } = options;
  const { signal } = serving;
  // Nothing to serve, and known already whom to trust.
  if (options.port === undefined && options.identity.caPem !== undefined) return;
  let server: PeerServer | undefined;
  try {
    for (let failures = 0; !signal.aborted;) {
      try {
        const own = await obtainCertificate(client.certify, signal);
        failures = 0;
        serving.onCertificate(own);
        const { port } = options;
        if (port === undefined) return;
        // Anew with each certificate: not every runtime can change that of a server that listens.
        await server?.close();
        server = await listen({ ...options, port }, serving, own);
        serving.onPort(server.port);
        do await delay(RENEWAL_CHECK_MS, undefined, { signal, ref: false });
        while (own.notAfterMs - clock() > RENEW_BEFORE_MS);
      } catch (error) {
        if (signal.aborted) return;
        if (getErrorCode(error) === "EADDRINUSE") {
          logger.warn({ port: options.port }, "the port is taken: other nodes get no images here");
          return;
        }
        failures += 1;
        logger.warn({ err: error, failures }, "other nodes get no images here");
        await pause(patience, Math.min(failures, 16), signal).catch(() => undefined);
      }
    }
  } finally {
    await server?.close();
  }
}

async function listen(
  { identity, port, bytesPerSecond, clock }: PeerOptions & { readonly port: number },
  { blobs }: Serving,
  certificate: OwnCertificate,
): Promise<PeerServer> {
  const { nodeId, credential } = identity;
  return startPeerServer({
    blobs,
    nodeId,
    key: derivePeerKey(hashCredential(credential)),
    certificate,
    port,
    clock,
    takeBytes: createRateLimit(bytesPerSecond, clock),
  });
}

/** What the controller keeps of `strata_<id>_<secret>`. */
function hashCredential(credential: string): string {
  const secret = credential.replace(/^strata_[a-z0-9-]+_/, "");
  return createHash("sha256").update(secret).digest("hex");
}
