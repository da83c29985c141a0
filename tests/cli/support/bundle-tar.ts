/** Tar files byte by byte: what no archiver would write. */
import { mediaTypes } from "@strata/protocol/oci/media-type";

import type { BuiltImage } from "../../support/images.ts";
import { digestOf } from "../../support/registry-client.ts";

export type Member = {
  readonly name: string;
  readonly bytes?: Buffer;
  /** [`0`, a file] */
  readonly type?: string;
  /** What the header says [the bytes' length]. */
  readonly size?: number;
  readonly linkname?: string;
};

const BLOCK = 512;

/** Headers and contents, without the end of an archive. */
export function members(list: readonly Member[]): Buffer {
  return Buffer.concat(list.flatMap((member) => [header(member), padded(member.bytes)]));
}

/** A whole archive. */
export function archive(list: readonly Member[]): Buffer {
  return Buffer.concat([members(list), Buffer.alloc(2 * BLOCK)]);
}

export function header({ name, bytes, type = "0", size, linkname = "" }: Member): Buffer {
  const block = Buffer.alloc(BLOCK);
  block.write(name, 0, 100, "latin1");
  block.write("0000644\0" + "0000000\0".repeat(2), 100, "latin1");
  block.write(`${(size ?? bytes?.length ?? 0).toString(8).padStart(11, "0")}\0`, 124, "latin1");
  block.write("00000000000\0", 136, "latin1");
  block.write(type, 156, "latin1");
  block.write(linkname, 157, 100, "latin1");
  block.write("ustar\u000000", 257, "latin1");
  return withChecksum(block);
}

export function withChecksum(block: Buffer): Buffer {
  block.fill(0x20, 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return block;
}

function padded(bytes: Buffer = Buffer.alloc(0)): Buffer {
  return Buffer.concat([bytes, Buffer.alloc((BLOCK - (bytes.length % BLOCK)) % BLOCK)]);
}

/** `30 path=x\n` */
export function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  const guess = rest.length + String(rest.length).length;
  return `${String(guess).length + rest.length}${rest}`;
}

export const marker: Member = {
  name: "oci-layout",
  bytes: Buffer.from(`{"imageLayoutVersion":"1.0.0"}`),
};

export function blobMember(bytes: Buffer): Member {
  return { name: `blobs/${digestOf(bytes).replace(":", "/")}`, bytes };
}

/** `index.json` that names this image. */
export function indexMember(image: BuiltImage, name = "app:1", change: object = {}): Member {
  const { digest, mediaType, bytes } = image.manifest;
  const annotations = { "org.opencontainers.image.ref.name": name };
  const entry = { mediaType, digest, size: bytes.length, annotations, ...change };
  const index = { schemaVersion: 2, mediaType: mediaTypes.index, manifests: [entry] };
  return { name: "index.json", bytes: Buffer.from(JSON.stringify(index)) };
}

/** The members of a good archive of one image. */
export function layoutOf(image: BuiltImage): readonly Member[] {
  const blobs = [image.manifest.bytes, ...image.blobs].map(blobMember);
  return [marker, indexMember(image), ...blobs];
}
