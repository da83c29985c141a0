import type { RegistryLogger } from "../../logger.ts";
import type { Bucket } from "./bucket.ts";
import { S3Error } from "./errors.ts";
import { blobKey, emptyTrash, folders, readRecord } from "./objects.ts";

type Parts = { readonly bucket: Bucket; readonly logger: Pick<RegistryLogger, "warn"> };

/** Ends what a crash cut short: deletions of data, and multipart uploads that no record names. For the start, when
 * nobody else uses the prefix. */
export async function removeLeftovers(parts: Parts): Promise<void> {
  await finishDeletions(parts);
  await abortUnknownMultiparts(parts);
}

async function finishDeletions(parts: Parts): Promise<void> {
  const { bucket } = parts;
  for await (const key of bucket.list(folders.trash)) {
    const { owner, digest } = (await readRecord(bucket, key)) ?? {};
    if (owner === undefined || digest === undefined) continue;
    const blob = await readRecord(bucket, blobKey(digest));
    // The crash came before the name was taken away: the blob stays.
    if (blob?.owner === owner) await bucket.delete(key);
    else await emptyTrash(parts, owner);
  }
}

/** They cost as much as objects, and nothing shows them. Not every server and not every policy lets them be listed. */
async function abortUnknownMultiparts({ bucket, logger }: Parts): Promise<void> {
  let known: ReadonlySet<string> | undefined;
  try {
    for await (const multipart of bucket.listMultiparts(folders.data)) {
      known ??= await listKnown(bucket);
      if (!known.has(multipart.uploadId)) await bucket.abortMultipart(multipart);
    }
  } catch (err) {
    if (!(err instanceof S3Error) || err.code !== "STORAGE_REFUSED") throw err;
    logger.warn({ err }, "unfinished multipart uploads of the bucket cannot be listed");
  }
}

async function listKnown(bucket: Bucket): Promise<ReadonlySet<string>> {
  const known = new Set<string>();
  for await (const key of bucket.list(folders.uploads)) {
    const multipart = (await readRecord(bucket, key))?.multipart;
    if (multipart !== undefined) known.add(multipart.uploadId);
  }
  return known;
}
