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
