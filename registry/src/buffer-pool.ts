/** Large buffers that are used again, so that a download allocates nothing in proportion to its length. */
export type BufferPool = {
  /** Owned by the caller until given back. Its content is whatever was there. */
  readonly take: () => Buffer;
  readonly give: (buffer: Buffer) => void;
};

/** 1 MiB reads cost a third of the CPU of 64 KiB ones. */
export const POOL_BUFFER_BYTES = 1024 * 1024;
/** What stays in memory when the load is over. */
const KEPT_MAX = 16;

export function createBufferPool(): BufferPool {
  const kept: Buffer[] = [];
  return {
    take: () => kept.pop() ?? Buffer.allocUnsafeSlow(POOL_BUFFER_BYTES),
    give: (buffer) => {
      if (kept.length < KEPT_MAX) kept.push(buffer);
    },
  };
}
