/** Large buffers that are used again, so that a download allocates nothing in proportion to its length. */
export type BufferPool = {
  /** Owned by the caller until given back or dropped. Its content is whatever was there; its length is what the load
   * allows: a download that meets many others gets a small one. */
  readonly take: () => Buffer;
  readonly give: (buffer: Buffer) => void;
  /** Instead of `give` when somebody may still read it. */
  readonly drop: (buffer: Buffer) => void;
};

/** 1 MiB reads cost a third of the CPU of 64 KiB ones. */
const LARGE_BYTES = 1024 * 1024;
const SMALL_BYTES = 64 * 1024;
/** Of the large ones, all downloads together: 16 at full speed. A thousand more cost 128 MiB and not 2 GiB. */
const LARGE_MAX = 32;
/** What stays in memory when the load is over. */
const KEPT_MAX = 16;

export function createBufferPool(): BufferPool {
  const kept: Buffer[] = [];
  let taken = 0;
  const drop = (buffer: Buffer): void => {
    if (buffer.length === LARGE_BYTES) taken -= 1;
  };
  return {
    take: () => {
      if (taken >= LARGE_MAX) return Buffer.allocUnsafeSlow(SMALL_BYTES);
      taken += 1;
      return kept.pop() ?? Buffer.allocUnsafeSlow(LARGE_BYTES);
    },
    give: (buffer) => {
      drop(buffer);
      if (buffer.length === LARGE_BYTES && kept.length < KEPT_MAX) kept.push(buffer);
    },
    drop,
  };
}
