import type { PeerAnswer } from "@strata/protocol/agent/peers";
import { Agent } from "undici";

import type { BlobRequest } from "../image/registry-client.ts";

export type PeerAddress = Extract<PeerAnswer, { kind: "node" }>;

/** A peer that does not answer within this, or sends nothing for so long, is given up. */
const CONNECT_MS_MAX = 5000;
const SILENCE_MS_MAX = 5000;

/** A blob's bytes from another node, from `offset` on. Throws when they do not come, and the system's errors. */
export async function* downloadFromPeer(
  peer: PeerAddress,
  caPem: string,
  { repository, digest, offset, size, signal }: Required<BlobRequest>,
): AsyncGenerator<Buffer, void> {
  // Of its own for each download: the name in the certificate is that of the one node.
  const dispatcher = new Agent({
    connect: { ca: caPem, servername: peer.nodeId, timeout: CONNECT_MS_MAX },
    headersTimeout: SILENCE_MS_MAX,
    bodyTimeout: SILENCE_MS_MAX,
  });
  try {
    const answer = await dispatcher.request({
      origin: originOf(peer),
      path: `/v2/${repository}/blobs/${digest}`,
      method: "GET",
      headers: {
        authorization: `Bearer ${peer.ticket}`,
        ...(offset === 0 ? {} : { range: `bytes=${offset}-` }),
      },
      signal,
    });
    const { statusCode, headers } = answer;
    const isRight =
      offset === 0
        ? statusCode === 200
        : statusCode === 206 && String(headers["content-range"]).startsWith(`bytes ${offset}-`);
    if (!isRight || Number(headers["content-length"]) !== size - offset) {
      answer.body.on("error", () => undefined).destroy();
      throw new Error(`it answers ${statusCode}`);
    }
    const body: AsyncIterable<Buffer> = answer.body;
    yield* body;
  } finally {
    await dispatcher.destroy();
  }
}

function originOf({ address, port }: PeerAddress): string {
  return `https://${address.includes(":") ? `[${address}]` : address}:${port}`;
}
