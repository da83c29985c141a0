import { type Digest, isDigest } from "@strata/protocol/oci/digest";
import { z } from "zod";

import { S3Error } from "./errors.ts";

/** Bytes that an object of the bucket holds: all of it, or its beginning. */
export type Segment = { readonly key: string; readonly sizeBytes: number };

/** A multipart upload that goes on: parts of one length, so that servers which ask for that take them. */
export type OpenMultipart = {
  readonly key: string;
  readonly uploadId: string;
  readonly partBytes: number;
  readonly etags: readonly string[];
};

/** What is known of a blob or an upload: its bytes are those of the segments, of the parts, and then the tail. One
 * small object of the bucket, replaced at once, so it is never half of the old and half of the new. */
export type StoredRecord = {
  /** Names the folder of its data, never used again for another. */
  readonly owner: string;
  readonly segments: readonly Segment[];
  readonly multipart: OpenMultipart | undefined;
  /** What it is, or, of an upload, is about to become. */
  readonly digest: Digest | undefined;
  readonly tail: Uint8Array;
};

const VERSION = 1;

const Header = z.object({
  version: z.literal(VERSION),
  owner: z.string(),
  segments: z.array(z.object({ key: z.string(), sizeBytes: z.int().min(0) })),
  multipart: z
    .object({
      key: z.string(),
      uploadId: z.string(),
      partBytes: z.int().positive(),
      etags: z.array(z.string()),
    })
    .optional(),
  digest: z.string().refine(isDigest).optional(),
  tailBytes: z.int().min(0),
});

const Later = z.object({ version: z.int().gt(VERSION) });

/** A line of JSON, then the tail as it is. */
export function encodeRecord({ tail, ...header }: StoredRecord): Uint8Array {
  const line = JSON.stringify({ version: VERSION, ...header, tailBytes: tail.length });
  return Buffer.concat([Buffer.from(`${line}\n`), tail]);
}

/** Undefined when it is damaged. @param key names the record in the message
 * @throws S3Error STORAGE_REFUSED when a later version wrote it */
export function parseRecord(bytes: Uint8Array, key: string): StoredRecord | undefined {
  const end = bytes.indexOf(10);
  const json = parseJson(Buffer.from(bytes.subarray(0, end)).toString());
  const later = Later.safeParse(json);
  if (later.success) {
    throw new S3Error("STORAGE_REFUSED", `${key} is of version ${later.data.version}`, {
      hint: "use the version of the program that wrote it, or a later one",
    });
  }
  const header = Header.safeParse(json);
  const tail = bytes.subarray(end + 1);
  if (!header.success || tail.length !== header.data.tailBytes) return undefined;
  const { owner, segments, multipart, digest } = header.data;
  return { owner, segments, multipart, digest, tail };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function sumBytes(segments: readonly Segment[]): number {
  return segments.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

/** All bytes of the record. */
export function recordBytes({ segments, multipart, tail }: StoredRecord): number {
  const parts = multipart === undefined ? 0 : multipart.etags.length * multipart.partBytes;
  return sumBytes(segments) + parts + tail.length;
}

/** What is left of the segments when they are cut to this length. */
export function cutSegments(segments: readonly Segment[], sizeBytes: number): readonly Segment[] {
  let left = sizeBytes;
  return segments.flatMap((segment): readonly Segment[] => {
    const kept = Math.min(segment.sizeBytes, left);
    left -= kept;
    return kept === 0 ? [] : [{ ...segment, sizeBytes: kept }];
  });
}
