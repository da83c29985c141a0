import type { Duplex } from "node:stream";

import { readFrames, streamFailure } from "./exec.ts";

/** The text of a log connection, both outputs as they came, as a web stream. A reader that is slow slows the node down;
 * one that goes away closes the connection.
 * @throws ControllerError STREAM_FAILED when the node refuses before it sends anything. */
export async function openLogText(socket: Duplex): Promise<ReadableStream<Uint8Array>> {
  const begun = Promise.withResolvers<void>();
  const body = new ReadableStream<Uint8Array>(
    {
      start: (controller) => {
        let open = true;
        const finish = (cause?: unknown): void => {
          if (!open) return;
          open = false;
          // A log that breaks off in the middle must not look complete.
          if (cause === undefined) controller.close();
          else controller.error(cause);
          begun.resolve();
        };
        readFrames(socket, {
          onFrame: (frame) => {
            if (!open) return;
            if (frame.type === "error") {
              const failure = streamFailure(frame);
              begun.reject(failure);
              finish(failure);
              return;
            }
            if (frame.type !== "stdout" && frame.type !== "stderr") return;
            controller.enqueue(frame.payload);
            begun.resolve();
            if ((controller.desiredSize ?? 0) <= 0) socket.pause();
          },
          onEnd: finish,
        });
      },
      pull: () => void socket.resume(),
      cancel: () => void socket.destroy(),
    },
    { highWaterMark: 16 },
  );
  // A follower of a process that says nothing yet gets the head of its answer all the same.
  const patience = Promise.withResolvers<void>();
  const timer = setTimeout(patience.resolve, HEAD_PATIENCE_MS);
  try {
    await Promise.race([begun.promise, patience.promise]);
  } finally {
    clearTimeout(timer);
    begun.promise.catch(() => undefined);
  }
  return body;
}

const HEAD_PATIENCE_MS = 300;
