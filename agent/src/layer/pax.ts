/** PAX extended headers, as Go's archive/tar reads them. Keys and values are bytes in latin1. */
import { malformed } from "./errors.ts";

export type PaxRecords = ReadonlyMap<string, string>;

const NAME_KEYS: ReadonlySet<string> = new Set(["path", "linkpath", "uname", "gname"]);
export const SPARSE_MAP_KEY = "GNU.sparse.map";

/** Within one header the last record of a key counts; a later header replaces an earlier one whole.
 * @throws LayerError LAYER_MALFORMED */
export function parsePaxRecords(body: Buffer): PaxRecords {
  const text = body.toString("latin1", 0, body.length);
  const records = new Map<string, string>();
  const sparseMap: string[] = [];
  let at = 0;
  while (at < text.length) {
    const record = parseRecord(text, at);
    at = record.next;
    if (record.key === "GNU.sparse.offset" || record.key === "GNU.sparse.numbytes") {
      // Format 0.0 repeats these two keys in turn; Go joins them to the map of format 0.1.
      const expected = sparseMap.length % 2 === 0 ? "GNU.sparse.offset" : "GNU.sparse.numbytes";
      if (record.key !== expected || record.value.includes(","))
        throw malformed("a sparse map is out of order");
      sparseMap.push(record.value);
    } else {
      records.set(record.key, record.value);
    }
  }
  if (sparseMap.length > 0) records.set(SPARSE_MAP_KEY, sparseMap.join(","));
  return records;
}

/** `"%d %s=%s\n"`: the length counts the whole record. */
function parseRecord(
  text: string,
  at: number,
): { readonly key: string; readonly value: string; readonly next: number } {
  const space = text.indexOf(" ", at);
  const length = space < 0 ? undefined : parsePaxInteger(text.slice(at, space));
  if (length === undefined || length < 5 || at + length > text.length)
    throw malformed("a PAX record has a wrong length");
  const next = at + length;
  if (next - 1 <= space || text[next - 1] !== "\n")
    throw malformed("a PAX record does not end in a line break");
  const equals = text.indexOf("=", space);
  if (equals <= space + 1 || equals >= next - 1) throw malformed("a PAX record has no key");
  const key = text.slice(space + 1, equals);
  const value = text.slice(equals + 1, next - 1);
  if ((NAME_KEYS.has(key) ? value : key).includes("\0"))
    throw malformed("a PAX record contains NUL");
  return { key, value, next };
}

/** Decimal with an optional sign; undefined is not a number that fits. */
export function parsePaxInteger(text: string): number | undefined {
  if (!/^[+-]?[0-9]+$/.test(text)) return undefined;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : undefined;
}

export type PaxTime = { readonly seconds: number; readonly nanoseconds: number };

/** Seconds with a fraction; nanoseconds count upwards also before 1970, as in a `timespec`. */
export function parsePaxTime(text: string): PaxTime | undefined {
  const dot = text.indexOf(".");
  const seconds = parsePaxInteger(dot < 0 ? text : text.slice(0, dot));
  const fraction = dot < 0 ? "" : text.slice(dot + 1);
  if (seconds === undefined || !/^[0-9]*$/.test(fraction)) return undefined;
  const nanoseconds = Number(fraction.padEnd(9, "0").slice(0, 9));
  if (nanoseconds === 0 || !text.startsWith("-")) return { seconds, nanoseconds };
  return { seconds: seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds };
}
