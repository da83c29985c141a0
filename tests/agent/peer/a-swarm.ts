/** Nodes that fetch images from each other, in this program: real stores, real TLS, and the controller's own book. */
import { createHash } from "node:crypto";
import { join } from "node:path";

import { type BlobCache, openBlobCache } from "@strata/agent/image/blob-cache";
import { createCacheSource } from "@strata/agent/image/blob-source";
import { createLogger } from "@strata/agent/logger";
import { createPeer, type Peer } from "@strata/agent/peer/peer";
import { createPeerBook, type PeerBook } from "@strata/controller/domain/peer-book";
import { type Authority, ensureAuthority } from "@strata/controller/pki/authority";
import { issueNodeCertificate } from "@strata/controller/pki/node-certificate";
import { derivePeerKey, PEER_TICKET_MS, signPeerTicket } from "@strata/protocol/agent/peer-ticket";
import type { PeerAnswer, PeerSearch } from "@strata/protocol/agent/peers";

import { aTemporaryDirectory } from "../../support/temporary.ts";
import { anImageStore, type TestStore } from "../image/an-image-store.ts";

export type SwarmNode = {
  readonly images: TestStore;
  readonly blobs: BlobCache;
  readonly peer: Peer;
};

export type Swarm = AsyncDisposable & {
  /** A node that knows the controller and serves, by the time that this resolves. */
  readonly node: (name: string, options?: { readonly bytesMax?: number }) => Promise<SwarmNode>;
  readonly book: PeerBook;
  /** Who was sent where, as `node: answer`. */
  readonly answers: readonly string[];
  /** The controller's part answers no more. */
  readonly silence: () => void;
};

export async function aSwarm(storeUrl: string): Promise<Swarm> {
  const undo = new AsyncDisposableStack();
  const folder = undo.use(aTemporaryDirectory());
  const authority = await ensureAuthority(join(folder.path, "ca"), Date.now());
  const book = createPeerBook();
  const answers: string[] = [];
  const state = { isSilent: false };
  const find = (nodeId: string, search: PeerSearch): PeerAnswer => {
    if (state.isSilent) throw new Error("the controller is silent");
    const answer = findFor(book, nodeId, search);
    if (answer.kind !== "wait")
      answers.push(`${nodeId}: ${answer.kind === "node" ? answer.nodeId : answer.kind}`);
    return answer;
  };
  return {
    book,
    answers,
    silence: () => (state.isSilent = true),
    node: async (nodeId, { bytesMax = 1024 ** 3 } = {}) => {
      const directory = join(folder.path, nodeId, "images");
      const ready = Promise.withResolvers<void>();
      const peer = createPeer({
        identity: { nodeId, credential: credentialOf(nodeId), caPem: authority.certificatePem },
        client: {
          announceBlobs: (news) => {
            book.announce({ nodeId, partition: "local" }, news);
            if (news.port !== undefined) ready.resolve();
            return Promise.resolve();
          },
          findPeer: (search) => Promise.resolve().then(() => find(nodeId, search)),
          certify: ({ publicKeyPem }) => certify(authority, nodeId, publicKeyPem),
        },
        bootId: "boot",
        port: 0,
        bytesPerSecond: 1024 ** 3,
        clock: Date.now,
        logger: createLogger("silent"),
      });
      const blobs = openBlobCache({
        directory: join(directory, "blobs"),
        bytesMax,
        clock: Date.now,
        logger: { warn: () => undefined },
        onChange: peer.onBlobChange,
      });
      const images = anImageStore(storeUrl, {
        directory,
        blobs,
        sources: [createCacheSource(blobs), peer.join(blobs)],
      });
      undo.use(images);
      undo.defer(() => peer.close());
      peer.heard({ controllerBootId: "controller" });
      await ready.promise;
      return { images, blobs, peer };
    },
    [Symbol.asyncDispose]: () => undo.disposeAsync(),
  };
}

function findFor(book: PeerBook, nodeId: string, search: PeerSearch): PeerAnswer {
  const { repository, digest, failed } = search;
  const partition = "local";
  const isPresent = (): boolean => true;
  const found = book.find({ nodeId, partition, digest, failed, nowMs: 0, isPresent });
  if (found.kind !== "node") return found;
  const key = derivePeerKey(hashOf(found.nodeId));
  const claim = { nodeId: found.nodeId, repository, digest };
  const ticket = signPeerTicket(key, claim, Date.now() + PEER_TICKET_MS);
  return { ...found, address: "127.0.0.1", ticket };
}

async function certify(
  authority: Authority,
  nodeId: string,
  publicKeyPem: string,
): Promise<{ certificatePem: string; caPem: string; notAfter: string }> {
  const issued = await issueNodeCertificate(authority, {
    nodeId,
    publicKeyPem,
    nowMs: Date.now(),
  });
  if (issued === undefined) throw new Error("the key was not signed");
  return {
    certificatePem: issued.certificatePem,
    caPem: authority.certificatePem,
    notAfter: new Date(issued.notAfterMs).toISOString(),
  };
}

function credentialOf(nodeId: string): string {
  return `strata_${nodeId}_secret-of-${nodeId}-0123456789`;
}

function hashOf(nodeId: string): string {
  return createHash("sha256").update(`secret-of-${nodeId}-0123456789`).digest("hex");
}
