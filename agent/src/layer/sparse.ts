/** The three ways in which GNU tar writes sparse files, as Go's archive/tar reads them. */
import { malformed } from "./errors.ts";
import { parsePaxInteger, type PaxRecords, SPARSE_MAP_KEY } from "./pax.ts";
import { BLOCK_BYTES, readNumber } from "./tar-header.ts";

/** A run of data at its place in the file. What no fragment covers reads as zeros. */
export type Fragment = { readonly offset: number; readonly length: number };

const ENTRY_BYTES = 24;

/** Entries of an old GNU header (4 at 386) or of an extension block (21 at 0), and whether another block follows. */
export function readOldGnuEntries(
  block: Buffer,
  kind: "header" | "extension",
): { readonly fragments: readonly Fragment[]; readonly extended: boolean } {
  const start = kind === "header" ? 386 : 0;
  const count = kind === "header" ? 4 : 21;
  const fragments: Fragment[] = [];
  for (let index = 0; index < count; index += 1) {
    const at = start + index * ENTRY_BYTES;
    if (block[at] === 0) break;
    fragments.push(fragment(readNumber(block, at, 12), readNumber(block, at + 12, 12)));
  }
  return { fragments, extended: (block[start + count * ENTRY_BYTES] ?? 0) > 0 };
}

export function readOldGnuRealSize(block: Buffer): number {
  const size = readNumber(block, 483, 12);
  if (size === undefined) throw malformed("the size of a sparse file is not a number");
  return size;
}

export type PaxSparse =
  | { readonly kind: "map"; readonly fragments: readonly Fragment[] }
  | { readonly kind: "body" };

/** Formats 0.0 and 0.1 carry the map in the PAX header, 1.0 in front of the data. */
export function readPaxSparse(records: PaxRecords): PaxSparse | undefined {
  const major = records.get("GNU.sparse.major") ?? "";
  const minor = records.get("GNU.sparse.minor") ?? "";
  if (major === "1" && minor === "0") return { kind: "body" };
  const guessed = major === "" && minor === "" && (records.get(SPARSE_MAP_KEY) ?? "") !== "";
  if (guessed || (major === "0" && (minor === "0" || minor === "1"))) {
    const map = records.get(SPARSE_MAP_KEY) ?? "";
    const numbers = map === "" ? [] : map.split(",");
    const count = parsePaxInteger(records.get("GNU.sparse.numblocks") ?? "");
    if (count === undefined || numbers.length !== 2 * count)
      throw malformed("a sparse map has a wrong length");
    return { kind: "map", fragments: pairs(numbers) };
  }
  return undefined;
}

/** Lines that the map of format 1.0 has in all: it begins with the number of its fragments. */
export function countSparseLines(text: string): number {
  const count = parsePaxInteger(text.slice(0, text.indexOf("\n")));
  if (count === undefined || count < 0)
    throw malformed("a sparse map does not begin with a number");
  return 1 + 2 * count;
}

/** The fragments of format 1.0, once all its lines are there. */
export function parseSparseLines(text: string, lines: number): readonly Fragment[] {
  return pairs(text.split("\n", lines).slice(1));
}

function pairs(numbers: readonly string[]): readonly Fragment[] {
  return Array.from({ length: numbers.length / 2 }, (_, index) =>
    fragment(
      parsePaxInteger(numbers[2 * index] ?? ""),
      parsePaxInteger(numbers[2 * index + 1] ?? ""),
    ),
  );
}

function fragment(offset: number | undefined, length: number | undefined): Fragment {
  if (offset === undefined || length === undefined)
    throw malformed("a sparse map holds what is not a number");
  return { offset, length };
}

/** Fragments must be in order, apart, inside the file, and hold exactly the bytes that the archive carries. */
export function checkFragments(
  fragments: readonly Fragment[],
  sizes: { readonly logical: number; readonly stored: number },
): void {
  let end = 0;
  let stored = 0;
  for (const { offset, length } of fragments) {
    if (offset < end || length < 0 || offset + length > sizes.logical)
      throw malformed("a sparse map is out of order");
    end = offset + length;
    stored += length;
  }
  if (sizes.logical < 0 || stored !== sizes.stored)
    throw malformed("a sparse map does not match the data");
}

/** Bytes of a body in whole blocks. */
export function paddingOf(size: number): number {
  return (BLOCK_BYTES - (size % BLOCK_BYTES)) % BLOCK_BYTES;
}
