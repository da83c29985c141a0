import { once } from "node:events";
import type { ServerResponse } from "node:http";

/** Writes a body of unknown origin after the headers were sent, and ends the answer. A client that left, or takes
 * nothing for too long, makes it throw; so does the source, and then the answer stays incomplete. */
export async function sendChunks(
  outgoing: ServerResponse,
  chunks: AsyncIterable<Uint8Array>,
  silenceMsMax: number,
): Promise<void> {
  const closed = new AbortController();
  outgoing.once("close", () => closed.abort());
  for await (const chunk of chunks) {
    closed.signal.throwIfAborted();
    if (outgoing.write(chunk)) continue;
    const signal = AbortSignal.any([closed.signal, AbortSignal.timeout(silenceMsMax)]);
    await once(outgoing, "drain", { signal });
  }
  outgoing.end();
}
