import type { ServerResponse } from "node:http";

import { SendError } from "./send-error.ts";

/** Writes to an answer and knows what becomes of it. */
export type Writer = {
  /** Resolves when the kernel has the chunk. @throws SendError CLIENT_GONE */
  readonly write: (chunk: Uint8Array) => Promise<void>;
  readonly close: () => void;
};

export function createWriter(outgoing: ServerResponse, silenceMsMax: number): Writer {
  let fail: (error: Error) => void = () => undefined;
  const onClose = (): void =>
    fail(new SendError("CLIENT_GONE", "the client closed the connection"));
  const onSilence = (): void => {
    outgoing.destroy();
    fail(new SendError("CLIENT_GONE", "the client took nothing for too long"));
  };
  outgoing.on("close", onClose);
  outgoing.on("error", onClose);
  return {
    write: (chunk) => {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      // Met by the next await; until then it must not count as unhandled.
      promise.catch(() => undefined);
      if (outgoing.destroyed)
        reject(new SendError("CLIENT_GONE", "the client closed the connection"));
      fail = reject;
      const silence = setTimeout(onSilence, silenceMsMax);
      const settle = (): void => clearTimeout(silence);
      promise.then(settle, settle);
      outgoing.write(chunk, (cause) =>
        cause
          ? reject(new SendError("CLIENT_GONE", "the client closed the connection", { cause }))
          : resolve(),
      );
      return promise;
    },
    close: () => {
      outgoing.off("close", onClose);
    },
  };
}
