import type { RegistryClient } from "./registry-client.ts";

/** How fast the store has been, to know whether something else is worth its trouble. */
export type StoreSpeed = {
  /** So many bytes of one blob came from the store in this time. */
  readonly note: (bytes: number, ms: number) => void;
  /** Bytes per second; undefined while nobody knows. */
  readonly bytesPerSecond: () => number | undefined;
};

/** Shorter ones say more about the answer's first byte than about the line. */
const BYTES_MIN = 256 * 1024;
/** What the newest download counts for. */
const NEWEST = 0.5;

export function createStoreSpeed(): StoreSpeed {
  let speed: number | undefined;
  return {
    note: (bytes, ms) => {
      if (bytes < BYTES_MIN || ms <= 0) return;
      const seen = (1000 * bytes) / ms;
      speed = speed === undefined ? seen : NEWEST * seen + (1 - NEWEST) * speed;
    },
    bytesPerSecond: () => speed,
  };
}

/** Blobs come as before, and what they say of the line is noted. Time in which their reader is slower than the line
 * counts as well: a line that is no obstacle is fast enough. */
export function withSpeed(
  client: RegistryClient,
  speed: StoreSpeed,
  monotonicMs: () => number,
): RegistryClient {
  return {
    ...client,
    streamBlob: async function* streamBlob(request) {
      const startedMs = monotonicMs();
      let bytes = 0;
      for await (const chunk of client.streamBlob(request)) {
        bytes += chunk.length;
        yield chunk;
      }
      speed.note(bytes, monotonicMs() - startedMs);
    },
  };
}
