import {
  DELTA_ARCHIVE_HEADER,
  DELTA_BASES_HEADER,
  type DeltaRequest,
} from "@strata/protocol/agent/messages";
import { type Digest, parseDigest } from "@strata/protocol/oci/digest";
import type { Dispatcher } from "undici";

import { PullError } from "./errors.ts";

/** `applyDelta(archives of the bases in this order, bytes, archiveBytes)` gives the layer's archive. */
export type Delta = {
  readonly bases: readonly Digest[];
  readonly archiveBytes: number;
  readonly bytes: Buffer;
};

/** Asks the controller for a layer as its difference. Undefined when it has nothing that helps.
 * @throws PullError, and the system's errors of a connection */
export type AskDelta = (
  request: DeltaRequest,
  options: { readonly bytesMax: number; readonly signal: AbortSignal },
) => Promise<Delta | undefined>;

export type DeltaClientOptions = {
  readonly dispatcher: Dispatcher;
  readonly controllerUrl: string;
  readonly nodeId: string;
  readonly credential: string;
};

/** To make one takes the controller a while; the caller's signal says how long it is waited for. */
const SILENCE_MS = 180_000;

export function createDeltaClient(options: DeltaClientOptions): AskDelta {
  const { dispatcher, controllerUrl, nodeId, credential } = options;
  const url = new URL(`/v1/nodes/${encodeURIComponent(nodeId)}/deltas`, controllerUrl);
  return async (request, { bytesMax, signal }) => {
    const answer = await dispatcher.request({
      origin: url.origin,
      path: url.pathname,
      method: "POST",
      headers: { authorization: `Bearer ${credential}`, "content-type": "application/json" },
      body: JSON.stringify(request),
      headersTimeout: SILENCE_MS,
      bodyTimeout: SILENCE_MS,
      signal,
    });
    if (answer.statusCode !== 200) {
      await answer.body.dump();
      if (answer.statusCode === 204) return undefined;
      throw invalid(`it answered ${answer.statusCode}`);
    }
    const names = String(answer.headers[DELTA_BASES_HEADER] ?? "").split(" ");
    return {
      bases: names.map(parseDigest),
      archiveBytes: Number(answer.headers[DELTA_ARCHIVE_HEADER]),
      bytes: await readBounded(answer.body, bytesMax),
    };
  };
}

async function readBounded(body: AsyncIterable<Buffer>, bytesMax: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > bytesMax) throw invalid("it is larger than the layer");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function invalid(why: string): PullError {
  return new PullError("REGISTRY_ANSWER_INVALID", `no delta from the controller: ${why}`);
}
