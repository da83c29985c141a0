import { once } from "node:events";
import { type Duplex, duplexPair } from "node:stream";

import { createLogger } from "@strata/agent/logger";
import { serveStream } from "@strata/agent/streams";
import type { StreamRequest } from "@strata/protocol/agent/messages";
import { createFrameDecoder, encodeFrame, type FrameType } from "@strata/protocol/agent/stream";

import type { TestNode } from "./a-node.ts";

export type StreamEnd =
  | { readonly type: "exit"; readonly code: number }
  | { readonly type: "error"; readonly code: string; readonly message: string };

export type StreamSession = {
  readonly send: (type: FrameType, payload?: Buffer | string | object) => Promise<void>;
  readonly hangUp: () => void;
  /** All that came as `stdout`, and how it ended; undefined when the connection just ended. */
  readonly result: Promise<{ readonly output: Buffer; readonly end: StreamEnd | undefined }>;
};

/** A request as the node serves it, with both ends of its connection in this program. */
export function aStream(
  node: TestNode,
  request: StreamRequest,
  [client, agent]: readonly [Duplex, Duplex] = duplexPair(),
): StreamSession {
  const gone = new AbortController();
  client.once("close", () => gone.abort());
  const result = collect(client);
  result.catch(() => undefined);
  const served = serveStream(request, {
    runtime: node.runtime(),
    client: { openStream: () => Promise.resolve(agent) },
    logger: createLogger("silent"),
  });
  return {
    send: async (type, payload) => {
      if (!client.write(encodeFrame(type, payload)))
        await once(client, "drain", { signal: gone.signal }).catch(() => undefined);
    },
    hangUp: () => void client.destroy(),
    result: served.then(() => result),
  };
}

async function collect(client: NodeJS.ReadableStream): Promise<Awaited<StreamSession["result"]>> {
  const decode = createFrameDecoder();
  const chunks: Buffer[] = [];
  let end: StreamEnd | undefined;
  for await (const chunk of client) {
    for (const { type, payload } of decode(chunk as Buffer)) {
      if (type === "stdout") chunks.push(payload);
      if (type === "exit" || type === "error")
        end = { type, ...JSON.parse(payload.toString("utf8")) };
    }
  }
  return { output: Buffer.concat(chunks), end };
}
