/** PAX extended headers (POSIX.1-2001, "pax Header Block"), as far as a bundle needs them. */
import { invalidBundle } from "./invalid.ts";

export type Pax = { readonly name?: string; readonly size?: number };

const decoder = new TextDecoder("utf-8", { fatal: true });

/** `path` and `size`. Times, owners and comments change nothing and are passed over.
 * @throws CliError LAYOUT_INVALID for records that are broken, doubled, or of sparse files */
export function parsePax(bytes: Buffer, archive: string): Pax {
  const records = new Map<string, string>();
  for (let offset = 0; offset < bytes.length;) {
    const { key, value, next } = parseRecord(bytes, offset, archive);
    if (records.has(key))
      throw invalidBundle(archive, `a PAX header has ${JSON.stringify(key)} twice`);
    if (key.startsWith("GNU.sparse.")) throw invalidBundle(archive, "it has a sparse file");
    records.set(key, value);
    offset = next;
  }
  const name = records.get("path");
  const size = records.get("size");
  if (size !== undefined && !/^\d{1,15}$/.test(size)) {
    throw invalidBundle(archive, "the size in a PAX header is not a number");
  }
  if (name === "" || name?.includes("\u0000") === true) {
    throw invalidBundle(archive, "the name in a PAX header is empty or has a NUL");
  }
  return {
    ...(name === undefined ? {} : { name }),
    ...(size === undefined ? {} : { size: Number(size) }),
  };
}

/** `30 path=blobs/sha256\n`: the number counts itself and the line's end. */
function parseRecord(
  bytes: Buffer,
  offset: number,
  archive: string,
): { readonly key: string; readonly value: string; readonly next: number } {
  const digits = /^[1-9]\d{0,5} /.exec(bytes.toString("latin1", offset, offset + 7))?.[0];
  const next = offset + Number(digits ?? "0");
  if (digits === undefined || next > bytes.length || bytes[next - 1] !== 0x0a) {
    throw invalidBundle(archive, "a PAX header is broken");
  }
  try {
    const text = decoder.decode(bytes.subarray(offset + digits.length, next - 1));
    const equals = text.indexOf("=");
    if (equals > 0) return { key: text.slice(0, equals), value: text.slice(equals + 1), next };
  } catch (cause) {
    throw invalidBundle(archive, "a PAX header is not UTF-8", cause);
  }
  throw invalidBundle(archive, "a PAX header is broken");
}
