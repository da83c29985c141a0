/** Manifests and configs: small, content-addressed, kept on disk so that a restart needs no registry. */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

import { getErrorCode } from "@strata/protocol/errors";
import {
  type Digest,
  digestAlgorithm,
  type DigestAlgorithm,
  digestHex,
  parseDigest,
} from "@strata/protocol/oci/digest";

import { PullError } from "./errors.ts";

export function digestOf(bytes: Buffer, algorithm: DigestAlgorithm): Digest {
  return parseDigest(`${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}`);
}

/** @throws PullError MANIFEST_DIGEST_MISMATCH */
export function requireDigest(bytes: Buffer, digest: Digest): void {
  const actual = digestOf(bytes, digestAlgorithm(digest));
  if (actual === digest) return;
  throw new PullError(
    "MANIFEST_DIGEST_MISMATCH",
    `asked for ${digest}, the registry sends ${actual}`,
    {
      hint: "let the store check its blobs, or push the image again",
      retryable: true,
    },
  );
}

/** Where something of this digest is kept below a folder. Digests are of a strict grammar, so this stays inside. */
export function digestPath(directory: string, digest: Digest): string {
  return join(directory, digestAlgorithm(digest), digestHex(digest));
}

export type ContentFolder = {
  /** Undefined when it is not there or no longer what it was. */
  readonly get: (digest: Digest) => Buffer | undefined;
  readonly put: (digest: Digest, bytes: Buffer) => void;
};

/** Bytes are checked again whenever they are read, so nothing here waits for the disk: what a loss of power takes is
 * fetched again. `incoming` is a folder of the same file system for what is not whole yet. */
export function openContentFolder(directory: string, incoming: string): ContentFolder {
  let puts = 0;
  return {
    get: (digest) => readChecked(digestPath(directory, digest), digest),
    put: (digest, bytes) => {
      puts += 1;
      const path = digestPath(directory, digest);
      const fresh = join(incoming, `content-${puts}-${basename(path)}`);
      writeFileSync(fresh, bytes, { mode: 0o600 });
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      renameSync(fresh, path);
    },
  };
}

/** Renames a file or folder that is already synced; when this resolves, its new name outlives a loss of power. */
export async function moveDurably(from: string, to: string): Promise<void> {
  mkdirSync(dirname(to), { recursive: true, mode: 0o700 });
  renameSync(from, to);
  await using folder = await open(dirname(to), "r");
  await folder.sync();
}

function readChecked(path: string, digest: Digest): Buffer | undefined {
  try {
    const bytes = readFileSync(path);
    return digestOf(bytes, digestAlgorithm(digest)) === digest ? bytes : undefined;
  } catch (error) {
    if (getErrorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}
