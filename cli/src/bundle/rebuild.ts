/** Makes blobs of a bundle's deltas and of what the store has. */
import { createHash } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";

import { CodedError } from "@strata/protocol/coded-error";
import { applyDelta } from "@strata/protocol/delta/delta";
import { type Digest, digestAlgorithm, digestHex } from "@strata/protocol/oci/digest";

import { blobUrl, type StoreClient } from "../store/client.ts";
import { download } from "../store/download.ts";
import { blobFile, type Delta } from "./contents.ts";
import { gather } from "./gather.ts";
import { invalidBundle } from "./invalid.ts";
import { DELTA_BLOB_BYTES_MAX } from "./make-deltas.ts";
import type { Bundle } from "./read.ts";

export type RebuildContext = {
  readonly store: StoreClient;
  readonly bundle: Bundle;
  /** A folder for what comes out. */
  readonly scratch: string;
  /** Which repository of the store has a blob.
   * @throws CliError LAYOUT_INVALID when none has it */
  readonly requireHolder: (digest: Digest) => Promise<string>;
  readonly signal: AbortSignal;
};

const SOURCE_BYTES_MAX = 1024 * 1024 * 1024;

/** The file with the blob's bytes, which were held against its digest.
 * @throws CliError LAYOUT_INVALID when something else comes out */
export async function rebuildBlob(context: RebuildContext, delta: Delta): Promise<string> {
  const { bundle, scratch } = context;
  const { digest, size, patch, sources } = delta;
  const total = sources.reduce((sum, source) => sum + source.size, 0);
  if (Math.max(size, patch.size) > DELTA_BLOB_BYTES_MAX || total > SOURCE_BYTES_MAX) {
    throw invalidBundle(bundle.path, `the delta of ${digest} is too large`);
  }
  const old: Buffer[] = [];
  for (const source of sources) old.push(await fetchSource(context, source));
  const bytes = await bundle.archive.read(blobFile(patch.digest), DELTA_BLOB_BYTES_MAX);
  if (bytes === undefined) throw invalidBundle(bundle.path, `patch ${patch.digest} is missing`);
  const made = apply(bundle, delta, { old, bytes });
  const actual = createHash(digestAlgorithm(digest)).update(made).digest("hex");
  if (actual !== digestHex(digest)) {
    throw invalidBundle(bundle.path, `the delta of ${digest} makes ${actual} instead`);
  }
  // The hard work held up the connections; let those be known as closed that the store has closed.
  await turn();
  const file = join(scratch, digestHex(digest));
  await writeFile(file, made);
  return file;
}

function apply(
  { path }: Bundle,
  { digest, size }: Delta,
  { old, bytes }: { readonly old: readonly Buffer[]; readonly bytes: Buffer },
): Buffer {
  try {
    return applyDelta(old, bytes, size);
  } catch (cause) {
    if (!(cause instanceof CodedError)) throw cause;
    throw invalidBundle(path, `the delta of ${digest} cannot be used: ${cause.message}`, cause);
  }
}

async function fetchSource(
  { store, requireHolder, signal }: RebuildContext,
  { digest, size }: { readonly digest: Digest; readonly size: number },
): Promise<Buffer> {
  const path = blobUrl(await requireHolder(digest), digest);
  return gather(download(store, { path, digest, size }, signal), size);
}
