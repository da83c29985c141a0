/** Which images were made ready here. The record of an image keeps its layers from being collected. */
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";

import { type Digest, digestAlgorithm, digestHex, parseDigest } from "@strata/protocol/oci/digest";
import { DigestText } from "@strata/protocol/oci/image";
import { z } from "zod";

import { readOptionalFile, replaceFile } from "../durable-file.ts";

export const ImageRecord = z.object({
  /** As it was asked for: of a manifest or an index. */
  digest: DigestText,
  repository: z.string(),
  manifestDigest: DigestText,
  diffIds: z.array(DigestText).readonly(),
  /** Index, manifest, config. */
  contents: z.array(DigestText).readonly(),
  /** To the hour. */
  lastUsedAtMs: z.number(),
});
export type ImageRecord = z.infer<typeof ImageRecord>;

function recordPath(directory: string, digest: Digest): string {
  return join(directory, `${digestAlgorithm(digest)}-${digestHex(digest)}.json`);
}

/** Does not wait for the disk: without its record an image is put together again from what is here. */
export function writeImageRecord(directory: string, record: ImageRecord): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  replaceFile(recordPath(directory, record.digest), JSON.stringify(record));
}

export function getImageRecord(directory: string, digest: Digest): ImageRecord | undefined {
  const text = readOptionalFile(recordPath(directory, digest));
  return text === undefined ? undefined : parseRecord(text);
}

/** A record that a loss of power damaged is no record. */
function parseRecord(text: string): ImageRecord | undefined {
  try {
    return ImageRecord.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

export function listImageRecords(directory: string): readonly ImageRecord[] {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  return readdirSync(directory).flatMap((name) => {
    const match = /^(sha256|sha512)-([a-f0-9]+)\.json$/.exec(name);
    if (match === null) return [];
    const digest = parseDigest(`${match[1]}:${match[2]}`);
    return getImageRecord(directory, digest) ?? [];
  });
}

export function removeImageRecord(directory: string, digest: Digest): void {
  rmSync(recordPath(directory, digest), { force: true });
}
