/** Bins in the order in which a strategy looks at them, so that the first with room is found without a look at all: the
 * order is cut into pieces, and a piece in which nothing has room is passed over as one. */
import type { Bin, Packing } from "./bins.ts";
import type { Capacity } from "./model.ts";

/** Short enough that a change of one piece is cheap, long enough that there are few pieces. */
const PIECE_LENGTH_MAX = 96;

type Piece = {
  readonly bins: Bin[];
  /** At least what the emptiest of its bins has free, of each resource by itself. */
  most: Capacity;
  /** A bin went that had the most of something: `most` is too much now. */
  isStale: boolean;
};

export type BinOrder = {
  /** Shows the bins that may have this much free, in order, until `see` says that it has seen enough. */
  readonly visit: (size: Capacity, see: (bin: Bin) => "on" | "enough") => void;
  readonly isSame: (a: Bin, b: Bin) => boolean;
  /** To be called before a bin changes, and `insert` after it. */
  readonly remove: (bin: Bin) => void;
  readonly insert: (bin: Bin) => void;
};

/** Ready ones first; then the fullest or the emptiest; then by id. */
export function createBinOrder(bins: readonly Bin[], strategy: Packing["strategy"]): BinOrder {
  const sign = strategy === "spread" ? 1 : -1;
  const compare = (a: Bin, b: Bin): number =>
    Number(b.ready) - Number(a.ready) ||
    sign * (a.fill - b.fill) ||
    (a.id < b.id ? -1 : Number(a.id > b.id));
  const sorted = bins.toSorted(compare);
  const pieces: Piece[] = [];
  for (let at = 0; at < sorted.length; at += PIECE_LENGTH_MAX / 2)
    pieces.push(createPiece(sorted.slice(at, at + PIECE_LENGTH_MAX / 2)));
  return {
    visit: (size, see) => visit(pieces, { size, see }),
    isSame: (a, b) => a.ready === b.ready && a.fill === b.fill,
    remove: (bin) => {
      const index = findPiece(pieces, bin, compare);
      const piece = pieces[index];
      if (piece === undefined) return;
      piece.bins.splice(findBin(piece.bins, bin, compare), 1);
      piece.isStale ||= hasMost(bin.free, piece.most);
      if (piece.bins.length === 0) pieces.splice(index, 1);
    },
    insert: (bin) => {
      const index = Math.min(findPiece(pieces, bin, compare), pieces.length - 1);
      const piece = pieces[index];
      if (piece === undefined) {
        pieces.push(createPiece([bin]));
        return;
      }
      piece.bins.splice(findBin(piece.bins, bin, compare), 0, bin);
      piece.most = larger(piece.most, bin.free);
      if (piece.bins.length <= PIECE_LENGTH_MAX) return;
      pieces.splice(index + 1, 0, createPiece(piece.bins.splice(PIECE_LENGTH_MAX / 2)));
      piece.isStale = true;
    },
  };
}

type Compare = (a: Bin, b: Bin) => number;

function visit(
  pieces: readonly Piece[],
  { size, see }: { readonly size: Capacity; readonly see: (bin: Bin) => "on" | "enough" },
): void {
  for (const piece of pieces) {
    if (!fits(size, piece.most)) continue;
    if (piece.isStale) {
      piece.most = mostOf(piece.bins);
      piece.isStale = false;
      if (!fits(size, piece.most)) continue;
    }
    for (const bin of piece.bins) if (fits(size, bin.free) && see(bin) === "enough") return;
  }
}

/** The first whose last bin is not before this one. */
function findPiece(pieces: readonly Piece[], bin: Bin, compare: Compare): number {
  return firstWhere(pieces.length, (index) => {
    const last = pieces[index]?.bins.at(-1);
    return last !== undefined && compare(last, bin) >= 0;
  });
}

function findBin(bins: readonly Bin[], bin: Bin, compare: Compare): number {
  return firstWhere(bins.length, (index) => {
    const other = bins[index];
    return other !== undefined && compare(other, bin) >= 0;
  });
}

/** The least index for which it holds, as it does for all after it; the length when it holds for none. */
function firstWhere(length: number, holds: (index: number) => boolean): number {
  let [from, to] = [0, length];
  while (from < to) {
    const middle = (from + to) >>> 1;
    if (holds(middle)) to = middle;
    else from = middle + 1;
  }
  return from;
}

function createPiece(bins: Bin[]): Piece {
  return { bins, most: mostOf(bins), isStale: false };
}

function mostOf(bins: readonly Bin[]): Capacity {
  const most = { cpuMillis: -Infinity, memoryBytes: -Infinity, pids: -Infinity };
  for (const { free } of bins) {
    if (free.cpuMillis > most.cpuMillis) most.cpuMillis = free.cpuMillis;
    if (free.memoryBytes > most.memoryBytes) most.memoryBytes = free.memoryBytes;
    if (free.pids > most.pids) most.pids = free.pids;
  }
  return most;
}

function larger(a: Capacity, b: Capacity): Capacity {
  return {
    cpuMillis: Math.max(a.cpuMillis, b.cpuMillis),
    memoryBytes: Math.max(a.memoryBytes, b.memoryBytes),
    pids: Math.max(a.pids, b.pids),
  };
}

function hasMost(free: Capacity, most: Capacity): boolean {
  return (
    free.cpuMillis >= most.cpuMillis ||
    free.memoryBytes >= most.memoryBytes ||
    free.pids >= most.pids
  );
}

function fits(size: Capacity, free: Capacity): boolean {
  return (
    size.cpuMillis <= free.cpuMillis &&
    size.memoryBytes <= free.memoryBytes &&
    size.pids <= free.pids
  );
}
