/** Bytes from `start` up to and including `end`, as HTTP counts. */
export type ByteRange = { readonly start: number; readonly end: number };

/** whole          no range asked for, or one that RFC 9110 lets us ignore
 * partial        one or more ranges inside the blob, in the order asked for
 * unsatisfiable  416 */
export type RangeRequest =
  | { readonly kind: "whole" }
  | { readonly kind: "partial"; readonly ranges: readonly ByteRange[] }
  | { readonly kind: "unsatisfiable" };

const whole: RangeRequest = { kind: "whole" };
/** `500-999`, `500-` or `-500`; more digits than a file can be long are no range. */
const spec = /^(?:(\d{1,15})-(\d{0,15})|-(\d{1,15}))$/;

/** Reads a `Range` header (RFC 9110, section 14.2) for a blob of this size. Ranges that overlap are merged, so the
 * answer is never longer than the blob and its headers; more than `rangesMax` of them give the whole blob. */
export function parseRange(
  header: string | undefined,
  { sizeBytes, rangesMax }: { readonly sizeBytes: number; readonly rangesMax: number },
): RangeRequest {
  const list = /^bytes\s*=\s*(.*)$/i.exec(header ?? "")?.[1];
  if (list === undefined) return whole;
  const ranges: ByteRange[] = [];
  for (const text of list.split(",")) {
    const match = spec.exec(text.trim());
    if (match === null) return whole;
    const range = clamp(match, sizeBytes);
    if (range !== undefined) ranges.push(range);
  }
  if (ranges.length === 0) return { kind: "unsatisfiable" };
  const separate = mergeOverlaps(ranges);
  return separate.length > rangesMax ? whole : { kind: "partial", ranges: separate };
}

/** The part inside the blob. A reversed range (`500-0`) has none: the conformance suite wants 416 for it. */
function clamp([, from, to, suffix]: RegExpExecArray, sizeBytes: number): ByteRange | undefined {
  if (suffix !== undefined) {
    const length = Math.min(Number(suffix), sizeBytes);
    return length === 0 ? undefined : { start: sizeBytes - length, end: sizeBytes - 1 };
  }
  const start = Number(from);
  const end = to === "" ? sizeBytes - 1 : Math.min(Number(to), sizeBytes - 1);
  return start > end ? undefined : { start, end };
}

/** Leaves ranges that do not overlap as and where they are: clients of zstd:chunked layers count the parts. */
function mergeOverlaps(ranges: readonly ByteRange[]): readonly ByteRange[] {
  const sorted = ranges.toSorted((a, b) => a.start - b.start);
  const merged: ByteRange[] = [];
  for (const range of sorted) {
    const last = merged.at(-1);
    if (last === undefined || range.start > last.end) merged.push(range);
    else merged[merged.length - 1] = { start: last.start, end: Math.max(last.end, range.end) };
  }
  return merged.length === ranges.length ? ranges : merged;
}

/** Reads the `Content-Range` of a chunk: `0-511`, also with `bytes` before and a total behind.
 * `"invalid"` for anything else; undefined when there is none. */
export function parseChunkRange(header: string | undefined): ByteRange | "invalid" | undefined {
  if (header === undefined) return undefined;
  const match = /^(?:bytes[ =]+)?(\d{1,15})-(\d{1,15})(?:\/(?:\d{1,15}|\*))?$/.exec(header.trim());
  if (match === null) return "invalid";
  const range = { start: Number(match[1]), end: Number(match[2]) };
  return range.start > range.end ? "invalid" : range;
}
