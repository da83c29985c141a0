/** The lengths of codes that zlib and gzip choose for what they have counted. RFC 1951 leaves the choice among equally
 * good codes to the compressor; this is zlib's (trees.c, "build_tree" and "gen_bitlen"), so that a block which it
 * wrote need not bring its codes along. Where it guesses wrong, the codes are told. */

type Tree = {
  readonly counts: Uint32Array;
  /** How deep what hangs below a node is: ties are broken by it. */
  readonly depths: Uint8Array;
  /** A heap, its smallest element at 1. */
  readonly heap: Uint16Array;
  heapLength: number;
};

/** @param counts How often each symbol occurs; changed where there are fewer than two symbols
 * @returns One length for each symbol up to the last that occurs */
export function chooseLengths(counts: Uint32Array, bitsMax: number): Uint8Array {
  const symbols = counts.length;
  const nodes = symbols * 2 + 1;
  const tree: Tree = {
    counts: new Uint32Array(nodes),
    depths: new Uint8Array(nodes),
    heap: new Uint16Array(nodes + 1),
    heapLength: 0,
  };
  tree.counts.set(counts);
  let last = -1;
  for (const [symbol, count] of counts.entries()) {
    if (count === 0) continue;
    last = symbol;
    push(tree, symbol);
  }
  // A code of fewer than two symbols is none.
  while (tree.heapLength < 2) {
    const symbol = last < 2 ? last + 1 : 0;
    if (last < 2) last += 1;
    tree.counts[symbol] = 1;
    push(tree, symbol);
  }
  for (let at = tree.heapLength >> 1; at >= 1; at -= 1) sink(tree, at);
  const { parents, order } = join(tree, symbols);
  return measure({ parents, order, last, bitsMax });
}

function push(tree: Tree, node: number): void {
  tree.heapLength += 1;
  tree.heap[tree.heapLength] = node;
}

/** Moves the element at `start` down to where it belongs. */
function sink({ counts, depths, heap, heapLength }: Tree, start: number): void {
  const isSmaller = (left = 0, right = 0): boolean => {
    const [a = 0, b = 0] = [counts[left], counts[right]];
    return a < b || (a === b && (depths[left] ?? 0) <= (depths[right] ?? 0));
  };
  const node = heap[start] ?? 0;
  let at = start;
  for (let child = at * 2; child <= heapLength; child *= 2) {
    if (child < heapLength && isSmaller(heap[child + 1], heap[child])) child += 1;
    if (isSmaller(node, heap[child])) break;
    heap[at] = heap[child] ?? 0;
    at = child;
  }
  heap[at] = node;
}

type Joined = {
  readonly parents: Uint16Array;
  /** All nodes, the root first. */
  readonly order: readonly number[];
};

/** Joins the two rarest until one is left. */
function join(tree: Tree, symbols: number): Joined {
  const { heap, counts, depths } = tree;
  const parents = new Uint16Array(counts.length);
  const backwards: number[] = [];
  let node = symbols;
  do {
    const left = heap[1] ?? 0;
    heap[1] = heap[tree.heapLength] ?? 0;
    tree.heapLength -= 1;
    sink(tree, 1);
    const right = heap[1] ?? 0;
    backwards.push(left, right);
    counts[node] = (counts[left] ?? 0) + (counts[right] ?? 0);
    depths[node] = Math.max(depths[left] ?? 0, depths[right] ?? 0) + 1;
    parents[left] = node;
    parents[right] = node;
    heap[1] = node;
    node += 1;
    sink(tree, 1);
  } while (tree.heapLength >= 2);
  backwards.push(heap[1] ?? 0);
  return { parents, order: backwards.toReversed() };
}

type Measured = Joined & { readonly last: number; readonly bitsMax: number };

function measure({ parents, order, last, bitsMax }: Measured): Uint8Array {
  const lengths = new Uint8Array(parents.length);
  const perLength = new Uint16Array(bitsMax + 2);
  let tooLong = 0;
  for (const [place, node] of order.entries()) {
    if (place === 0) continue;
    const wanted = (lengths[parents[node] ?? 0] ?? 0) + 1;
    const bits = Math.min(wanted, bitsMax);
    if (wanted > bitsMax) tooLong += 1;
    lengths[node] = bits;
    if (node <= last) perLength[bits] = (perLength[bits] ?? 0) + 1;
  }
  if (tooLong > 0) shorten({ perLength, tooLong, bitsMax });
  const leaves = order.filter((node) => node <= last);
  if (tooLong > 0) assign(lengths, leaves.toReversed(), perLength);
  return lengths.subarray(0, last + 1);
}

/** Makes room for codes that are too long by making others longer. */
function shorten(limits: {
  readonly perLength: Uint16Array;
  readonly tooLong: number;
  readonly bitsMax: number;
}): void {
  const { perLength, bitsMax } = limits;
  const change = (bits: number, by: number): void => {
    perLength[bits] = (perLength[bits] ?? 0) + by;
  };
  for (let left = limits.tooLong; left > 0; left -= 2) {
    let bits = bitsMax - 1;
    while (perLength[bits] === 0) bits -= 1;
    change(bits, -1);
    change(bits + 1, 2);
    change(bitsMax, -1);
  }
}

/** The longest codes to the rarest symbols. */
function assign(lengths: Uint8Array, rarestFirst: readonly number[], perLength: Uint16Array): void {
  let at = 0;
  for (let bits = perLength.length - 2; bits > 0; bits -= 1) {
    for (let count = perLength[bits] ?? 0; count > 0; count -= 1) {
      lengths[rarestFirst[at] ?? 0] = bits;
      at += 1;
    }
  }
}
