/** Bytes gathered for one part. It grows with what comes, so that a small upload stays small. */
export type PartBuffer = {
  readonly length: () => number;
  readonly isFull: () => boolean;
  /** Copies as much as there is room for, and gives how much that was. */
  readonly push: (chunk: Uint8Array) => number;
  /** Valid until the next call of another method. */
  readonly view: () => Uint8Array;
  /** Gives all bytes away and begins anew. */
  readonly take: () => Uint8Array;
  readonly truncate: (length: number) => void;
};

const CAPACITY_MIN = 64 * 1024;

export function createPartBuffer(lengthMax: number): PartBuffer {
  let bytes = new Uint8Array();
  let length = 0;
  const grow = (needed: number): void => {
    if (needed <= bytes.length) return;
    const capacity = Math.min(lengthMax, Math.max(needed, bytes.length * 2, CAPACITY_MIN));
    const larger = Buffer.allocUnsafeSlow(capacity);
    larger.set(bytes.subarray(0, length));
    bytes = larger;
  };
  return {
    length: () => length,
    isFull: () => length === lengthMax,
    push: (chunk) => {
      const count = Math.min(chunk.length, lengthMax - length);
      grow(length + count);
      bytes.set(chunk.subarray(0, count), length);
      length += count;
      return count;
    },
    view: () => bytes.subarray(0, length),
    take: () => {
      const taken = bytes.subarray(0, length);
      bytes = new Uint8Array();
      length = 0;
      return taken;
    },
    truncate: (shorter) => {
      length = Math.min(length, shorter);
    },
  };
}
