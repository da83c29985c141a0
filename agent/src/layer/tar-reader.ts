/** A push parser for tar archives: takes chunks of any size and gives entries to a sink, synchronously. It never
 * reads beyond a chunk, never holds more than one block or one extended header, and throws only LayerError. */
import { malformed, overLimit, refused } from "./errors.ts";
import type { LayerLimits } from "./limits.ts";
import { mergeHeaders } from "./merge-headers.ts";
import { parsePaxRecords, parsePaxInteger, type PaxRecords } from "./pax.ts";
import {
  checkFragments,
  countSparseLines,
  type Fragment,
  paddingOf,
  parseSparseLines,
  readOldGnuEntries,
  readOldGnuRealSize,
  readPaxSparse,
} from "./sparse.ts";
import type { EntrySink, TarEntry } from "./tar-entry.ts";
import { BLOCK_BYTES, parseHeader, readText } from "./tar-header.ts";

type State =
  | "header" // The next block is a header or the end.
  | "special" // The body of a PAX header or of a GNU long name.
  | "sparse-extension" // More entries of an old GNU sparse map.
  | "sparse-map" // The map of PAX format 1.0 in front of the data.
  | "data" // The body of a file.
  | "padding" // Up to the next whole block.
  | "ended"; // Two blocks of zeros were seen: nothing but zeros may follow.

const zeros = Buffer.alloc(BLOCK_BYTES);

export class TarReader {
  readonly #sink: EntrySink;
  readonly #limits: Pick<LayerLimits, "extendedHeaderBytesMax">;
  #state: State = "header";
  /** Gathers a block that is spread over chunks. */
  readonly #block = Buffer.alloc(BLOCK_BYTES);
  #blockBytes = 0;
  #zeroBlocks = 0;
  /** Bytes of the current body, or of its padding, that are still to come. */
  #remaining = 0;
  #padding = 0;
  #special: { readonly typeFlag: string; readonly body: Buffer } | undefined;
  #pax: PaxRecords | undefined;
  #longName = "";
  #longLink = "";
  #entry: TarEntry | undefined;
  #fragments: Fragment[] = [];
  #fragmentIndex = 0;
  /** Place in the file of the next byte of data. */
  #position = 0;
  #mapText = "";
  #mapLines = 0;
  #mapLinesWanted = 1;

  constructor(sink: EntrySink, limits: Pick<LayerLimits, "extendedHeaderBytesMax">) {
    this.#sink = sink;
    this.#limits = limits;
  }

  /** @throws LayerError, and what the sink throws */
  write(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) at = this.#step(chunk, at);
  }

  /** To be called once after the last chunk. As in Go, the two blocks of zeros at the end may be missing.
   * @throws LayerError LAYER_MALFORMED for an archive that was cut off */
  end(): void {
    const betweenEntries = this.#state === "header" && this.#blockBytes === 0;
    if (!betweenEntries && this.#state !== "ended" && this.#state !== "padding") {
      throw malformed("the archive ends in the middle of an entry");
    }
    if (this.#pax !== undefined || this.#longName !== "" || this.#longLink !== "") {
      throw malformed("the archive ends behind an extended header");
    }
  }

  #step(chunk: Buffer, at: number): number {
    switch (this.#state) {
      case "data":
        return this.#takeData(chunk, at);
      case "special":
        return this.#takeSpecial(chunk, at);
      case "padding":
        return this.#takePadding(chunk, at);
      case "ended":
        return checkZeros(chunk, at);
      case "header":
      case "sparse-extension":
      case "sparse-map":
        return this.#takeBlock(chunk, at);
      default:
        return this.#state satisfies never;
    }
  }

  #takeBlock(chunk: Buffer, at: number): number {
    if (this.#blockBytes === 0 && chunk.length - at >= BLOCK_BYTES) {
      this.#onBlock(chunk.subarray(at, at + BLOCK_BYTES));
      return at + BLOCK_BYTES;
    }
    const end = Math.min(chunk.length, at + BLOCK_BYTES - this.#blockBytes);
    this.#blockBytes += chunk.copy(this.#block, this.#blockBytes, at, end);
    if (this.#blockBytes === BLOCK_BYTES) {
      this.#blockBytes = 0;
      this.#onBlock(this.#block);
    }
    return end;
  }

  #onBlock(block: Buffer): void {
    if (this.#state === "sparse-extension") this.#onSparseExtension(block);
    else if (this.#state === "sparse-map") this.#onSparseMap(block);
    else if (block[0] === 0 && block.equals(zeros)) this.#onZeroBlock();
    else this.#onHeader(block);
  }

  #onZeroBlock(): void {
    this.#zeroBlocks += 1;
    if (this.#zeroBlocks === 2) this.#state = "ended";
  }

  #onHeader(block: Buffer): void {
    if (this.#zeroBlocks > 0) throw malformed("an entry follows a block of zeros");
    const raw = parseHeader(block);
    switch (raw.typeFlag) {
      case "x":
      case "g":
      case "L":
      case "K":
        this.#beginSpecial(raw.typeFlag, raw.size);
        return;
      default:
    }
    const merged = mergeHeaders(raw, {
      pax: this.#pax,
      longName: this.#longName,
      longLink: this.#longLink,
    });
    const records = this.#pax;
    this.#forgetPending();
    this.#entry = merged.entry;
    this.#remaining = merged.stored;
    this.#padding = paddingOf(merged.stored);
    if (raw.typeFlag === "S") {
      if (raw.format !== "gnu")
        throw refused(merged.entry.name, "a sparse file of another format than GNU's");
      this.#beginOldSparse(block);
    } else if (records === undefined || !this.#beginPaxSparse(records)) {
      this.#beginEntry();
    }
  }

  #forgetPending(): void {
    this.#pax = undefined;
    this.#longName = "";
    this.#longLink = "";
  }

  #beginSpecial(typeFlag: string, size: number): void {
    if (size < 0) throw malformed("the size of an extended header is negative");
    if (size > this.#limits.extendedHeaderBytesMax) {
      throw overLimit(
        `an extended header of ${size} bytes is over ${this.#limits.extendedHeaderBytesMax}`,
      );
    }
    this.#special = { typeFlag, body: Buffer.allocUnsafe(size) };
    this.#remaining = size;
    this.#padding = paddingOf(size);
    this.#state = "special";
    if (size === 0) this.#onSpecial();
  }

  #takeSpecial(chunk: Buffer, at: number): number {
    const body = this.#special?.body ?? zeros;
    const end = Math.min(chunk.length, at + this.#remaining);
    chunk.copy(body, body.length - this.#remaining, at, end);
    this.#remaining -= end - at;
    if (this.#remaining === 0) this.#onSpecial();
    return end;
  }

  #onSpecial(): void {
    const { typeFlag, body } = this.#special ?? { typeFlag: "", body: zeros };
    this.#special = undefined;
    this.#toPadding();
    if (typeFlag === "x") this.#pax = parsePaxRecords(body);
    else if (typeFlag === "L") this.#longName = longText(body);
    else if (typeFlag === "K") this.#longLink = longText(body);
    else {
      // A global header is an entry of its own to Go: its records mean nothing for the entries behind it, and
      // extended headers in front of it are used up.
      parsePaxRecords(body);
      this.#forgetPending();
    }
  }

  #beginOldSparse(block: Buffer): void {
    const { fragments, extended } = readOldGnuEntries(block, "header");
    this.#fragments = [...fragments];
    this.#setSparse(readOldGnuRealSize(block));
    if (extended) this.#state = "sparse-extension";
    else this.#beginSparseEntry();
  }

  #onSparseExtension(block: Buffer): void {
    const { fragments, extended } = readOldGnuEntries(block, "extension");
    for (const fragment of fragments) this.#fragments.push(fragment);
    if (this.#fragments.length * 24 > this.#limits.extendedHeaderBytesMax)
      throw overLimit("a sparse map is too long");
    if (!extended) this.#beginSparseEntry();
  }

  /** False when the records do not speak of a sparse file. */
  #beginPaxSparse(records: PaxRecords): boolean {
    const sparse = readPaxSparse(records);
    if (sparse === undefined) return false;
    const entry = this.#requireEntry();
    const name = records.get("GNU.sparse.name") || entry.name;
    const sizeText = records.get("GNU.sparse.size") || records.get("GNU.sparse.realsize");
    const size = sizeText ? parsePaxInteger(sizeText) : entry.size;
    if (size === undefined || size < 0)
      throw refused(name, "the size of a sparse file is not a number that fits");
    if (entry.type !== "file") throw refused(name, "only a file can be sparse");
    this.#entry = { ...entry, name };
    this.#setSparse(size);
    if (sparse.kind === "map") {
      this.#fragments = [...sparse.fragments];
      this.#beginSparseEntry();
    } else {
      this.#mapText = "";
      this.#mapLines = 0;
      this.#mapLinesWanted = 1;
      this.#state = "sparse-map";
    }
    return true;
  }

  #onSparseMap(block: Buffer): void {
    if (this.#remaining < BLOCK_BYTES) throw malformed("a sparse map is longer than its file");
    this.#remaining -= BLOCK_BYTES;
    this.#mapText += block.toString("latin1", 0, BLOCK_BYTES);
    if (this.#mapText.length > this.#limits.extendedHeaderBytesMax)
      throw overLimit("a sparse map is too long");
    for (const byte of block) if (byte === 10) this.#mapLines += 1;
    if (this.#mapLines > 0 && this.#mapLinesWanted === 1)
      this.#mapLinesWanted = countSparseLines(this.#mapText);
    if (this.#mapLines === 0 || this.#mapLines < this.#mapLinesWanted) return;
    this.#fragments = [...parseSparseLines(this.#mapText, this.#mapLinesWanted)];
    this.#mapText = "";
    this.#beginSparseEntry();
  }

  #setSparse(size: number): void {
    this.#entry = { ...this.#requireEntry(), size, sparse: true };
  }

  #beginSparseEntry(): void {
    checkFragments(this.#fragments, {
      logical: this.#requireEntry().size,
      stored: this.#remaining,
    });
    this.#beginEntry();
  }

  #beginEntry(): void {
    const entry = this.#requireEntry();
    this.#fragmentIndex = 0;
    this.#position = entry.sparse ? (this.#fragments[0]?.offset ?? 0) : 0;
    this.#sink.begin(entry);
    this.#state = "data";
    if (this.#remaining === 0) this.#endEntry();
  }

  #takeData(chunk: Buffer, at: number): number {
    const inFragment = this.#requireEntry().sparse ? this.#bytesLeftInFragment() : this.#remaining;
    const end = Math.min(chunk.length, at + inFragment);
    this.#sink.data(chunk.subarray(at, end), this.#position);
    this.#position += end - at;
    this.#remaining -= end - at;
    if (this.#remaining === 0) this.#endEntry();
    return end;
  }

  /** Moves on to the next fragment that holds data. `checkFragments` made sure that there is one. */
  #bytesLeftInFragment(): number {
    for (;;) {
      const fragment = this.#fragments[this.#fragmentIndex];
      if (fragment === undefined) throw malformed("a sparse file has more data than its map");
      const left = fragment.offset + fragment.length - this.#position;
      if (left > 0) return left;
      this.#fragmentIndex += 1;
      this.#position = this.#fragments[this.#fragmentIndex]?.offset ?? 0;
    }
  }

  #endEntry(): void {
    this.#entry = undefined;
    this.#fragments = [];
    this.#sink.end();
    this.#toPadding();
  }

  #toPadding(): void {
    this.#state = this.#padding === 0 ? "header" : "padding";
  }

  #takePadding(chunk: Buffer, at: number): number {
    const end = Math.min(chunk.length, at + this.#padding);
    this.#padding -= end - at;
    this.#toPadding();
    return end;
  }

  #requireEntry(): TarEntry {
    if (this.#entry === undefined) throw malformed("data without an entry");
    return this.#entry;
  }
}

/** Programs fill the archive's last record with zeros. Anything else is an archive that other readers do not see. */
function checkZeros(chunk: Buffer, at: number): number {
  for (let index = at; index < chunk.length; index += 1) {
    if (chunk[index] !== 0) throw malformed("data follows the end of the archive");
  }
  return chunk.length;
}

function longText(body: Buffer): string {
  const text = readText(body, 0, body.length);
  // Go cuts at the first NUL. Text behind it can only be there to be read differently by another program.
  for (let index = text.length; index < body.length; index += 1) {
    if (body[index] !== 0) throw malformed("a GNU long name contains NUL");
  }
  return text;
}
