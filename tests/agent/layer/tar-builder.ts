/** Writes tar archives byte by byte, hostile ones included. Text is latin1: one character for one byte. */
export type EntrySpec = {
  readonly name?: string;
  readonly type?: string;
  readonly linkName?: string;
  readonly body?: string | Buffer;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly mtime?: number;
  /** Says another size than the body has. */
  readonly size?: number;
  /** A PAX header in front. */
  readonly pax?: Readonly<Record<string, string>>;
  /** GNU long name and link in front. */
  readonly longName?: string;
  readonly longLink?: string;
  /** Written over the header, before the checksum. */
  readonly patches?: readonly { readonly at: number; readonly bytes: string }[];
  readonly format?: "ustar" | "gnu" | "v7";
  readonly checksum?: "bad";
};

export function aTar(entries: readonly EntrySpec[], { trailer = "\0".repeat(1024) } = {}): Buffer {
  return Buffer.concat([...entries.flatMap(encodeEntry), latin1(trailer)]);
}

function encodeEntry(spec: EntrySpec): readonly Buffer[] {
  const body = typeof spec.body === "string" ? latin1(spec.body) : (spec.body ?? Buffer.alloc(0));
  return [
    ...(spec.pax === undefined
      ? []
      : encodeEntry({ name: "pax", type: "x", body: paxBody(spec.pax) })),
    ...(spec.longName === undefined
      ? []
      : encodeEntry({ name: "long", type: "L", body: `${spec.longName}\0`, format: "gnu" })),
    ...(spec.longLink === undefined
      ? []
      : encodeEntry({ name: "long", type: "K", body: `${spec.longLink}\0`, format: "gnu" })),
    header(spec, spec.size ?? body.length),
    body,
    Buffer.alloc((512 - (body.length % 512)) % 512),
  ];
}

export function paxBody(records: Readonly<Record<string, string>>): string {
  return Object.entries(records)
    .map(([key, value]) => paxRecord(key, value))
    .join("");
}

function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length)
    length = String(length).length + rest.length;
  return `${length}${rest}`;
}

function header(spec: EntrySpec, size: number): Buffer {
  const block = Buffer.alloc(512);
  const put = (at: number, text: string): void => void block.write(text, at, "latin1");
  const octal = (at: number, length: number, value: number): void =>
    put(at, value.toString(8).padStart(length - 1, "0"));
  const { name = "file", type = "0", linkName = "", format = "ustar" } = spec;
  put(0, name.slice(0, 100));
  octal(100, 8, spec.mode ?? 0o644);
  octal(108, 8, spec.uid ?? 0);
  octal(116, 8, spec.gid ?? 0);
  octal(124, 12, size);
  octal(136, 12, spec.mtime ?? 1_600_000_000);
  put(156, type);
  put(157, linkName.slice(0, 100));
  if (format === "ustar") put(257, "ustar\x0000");
  if (format === "gnu") put(257, "ustar  \0");
  for (const { at, bytes } of spec.patches ?? []) put(at, bytes);
  put(148, "        ");
  const sum = block.reduce((total, byte) => total + byte, spec.checksum === "bad" ? 1 : 0);
  put(148, `${sum.toString(8).padStart(6, "0")}\0 `);
  return block;
}

function latin1(text: string): Buffer {
  return Buffer.from(text, "latin1");
}

export const dir = (name: string, more: EntrySpec = {}): EntrySpec => ({
  name,
  type: "5",
  mode: 0o755,
  ...more,
});
export const file = (name: string, body = "", more: EntrySpec = {}): EntrySpec => ({
  name,
  body,
  ...more,
});
export const symlink = (name: string, linkName: string, more: EntrySpec = {}): EntrySpec => ({
  name,
  type: "2",
  linkName,
  mode: 0o777,
  ...more,
});
export const hardlink = (name: string, linkName: string, more: EntrySpec = {}): EntrySpec => ({
  name,
  type: "1",
  linkName,
  ...more,
});
