/** Puts the headers of one entry together: its own, the PAX records and the GNU long names in front of it. */
import { malformed, refused } from "./errors.ts";
import { type PaxRecords, parsePaxInteger, parsePaxTime } from "./pax.ts";
import type { EntryType, TarEntry, Xattr } from "./tar-entry.ts";
import type { RawHeader } from "./tar-header.ts";

export type PendingHeaders = {
  readonly pax: PaxRecords | undefined;
  readonly longName: string;
  readonly longLink: string;
};

const XATTR_PREFIX = "SCHILY.xattr.";
const types: Readonly<Record<string, EntryType>> = {
  "0": "file",
  "1": "hardlink",
  "2": "symlink",
  "3": "character",
  "4": "block",
  "5": "directory",
  "6": "fifo",
  S: "file",
};

/** `stored` is what the archive carries behind the header; the entry's `size` is still the same.
 * @throws LayerError for numbers that do not fit and for types that are no part of a layer */
export function mergeHeaders(
  raw: RawHeader,
  pending: PendingHeaders,
): { readonly entry: TarEntry; readonly stored: number } {
  const records: PaxRecords = pending.pax ?? new Map<string, string>();
  // An empty PAX value keeps what the header says; GNU long names win over PAX; a sparse name wins over both.
  const name = pending.longName || records.get("path") || raw.name;
  const linkName = pending.longLink || records.get("linkpath") || raw.linkName;
  const integer = (key: string, fallback: number): number =>
    paxNumber(records, key, name) ?? fallback;
  const time = paxTime(records, name);
  const type = entryType(raw.typeFlag, name);
  const size = integer("size", raw.size);
  if (size < 0) throw refused(name, "the size is negative");
  const carriesData = type === "file";
  return {
    stored: carriesData ? size : 0,
    entry: {
      type,
      name,
      linkName,
      mode: checkedMode(raw.mode, name),
      uid: checkedId(integer("uid", raw.uid), name),
      gid: checkedId(integer("gid", raw.gid), name),
      mtimeSeconds: time?.seconds ?? raw.mtimeSeconds,
      mtimeNanoseconds: time?.nanoseconds ?? 0,
      size: carriesData ? size : 0,
      sparse: false,
      xattrs: pending.pax === undefined ? noXattrs : paxXattrs(records),
    },
  };
}

const noXattrs: readonly Xattr[] = [];

function entryType(typeFlag: string, name: string): EntryType {
  // Version 7 had no directories: a trailing slash said so.
  if (typeFlag === "\0") return name.endsWith("/") ? "directory" : "file";
  const type = Object.hasOwn(types, typeFlag) ? types[typeFlag] : undefined;
  if (type === undefined)
    throw refused(name, `the type ${JSON.stringify(typeFlag)} is not one of a layer`);
  return type;
}

function paxNumber(records: PaxRecords, key: string, name: string): number | undefined {
  const text = records.get(key) ?? "";
  if (text === "") return undefined;
  const value = parsePaxInteger(text);
  if (value === undefined) throw refused(name, `the PAX ${key} is not a number that fits`);
  return value;
}

function paxTime(records: PaxRecords, name: string): ReturnType<typeof parsePaxTime> {
  for (const key of ["atime", "ctime"]) {
    const text = records.get(key) ?? "";
    if (text !== "" && parsePaxTime(text) === undefined)
      throw malformed(`the PAX ${key} is not a time`);
  }
  const text = records.get("mtime") ?? "";
  if (text === "") return undefined;
  const time = parsePaxTime(text);
  if (time === undefined) throw refused(name, "the PAX mtime is not a time that fits");
  return time;
}

function paxXattrs(records: PaxRecords): readonly Xattr[] {
  const xattrs: Xattr[] = [];
  for (const [key, value] of records) {
    if (key.startsWith(XATTR_PREFIX) && value !== "")
      xattrs.push({ name: key.slice(XATTR_PREFIX.length), value });
  }
  return xattrs;
}

/** 2^32 - 1 means "no change" to chown, and larger ids would become small ones. */
function checkedId(id: number, name: string): number {
  if (id < 0 || id >= 0xffff_ffff)
    throw refused(name, `the owner ${id} is not an id that Linux has`);
  return id;
}

/** Some programs put the file type into the higher bits, which mean nothing here. */
function checkedMode(mode: number, name: string): number {
  if (mode < 0 || mode > 0xffff_ffff) throw refused(name, `the mode ${mode} does not fit`);
  return mode & 0o7777;
}
