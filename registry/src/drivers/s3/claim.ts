import type { Bucket } from "./bucket.ts";
import { S3Error } from "./errors.ts";
import type { S3Location } from "./location.ts";

/** Names the store whose blobs these are. */
const KEY = "store";

/** Makes the place that of one store. Another one would take the blobs that its own metadata does not know for what a
 * crash left, and delete them. Two that start in the same moment are not told apart.
 * @throws S3Error STORAGE_REFUSED when it is another's */
export async function claimBucket(
  bucket: Bucket,
  { bucket: name, prefix }: S3Location,
  storeId: string,
): Promise<void> {
  const claim = await bucket.getWhole(KEY);
  if (claim === undefined) return bucket.put(KEY, Buffer.from(storeId));
  if (Buffer.from(claim).toString() === storeId) return;
  throw new S3Error("STORAGE_REFUSED", `s3://${name}/${prefix} has the blobs of another store`, {
    hint: `give this store a prefix of its own; to take over from one that is gone for good, delete ${prefix}${KEY}`,
  });
}
