import { MANIFEST_SIZE_BYTES_MAX } from "@strata/protocol/oci/image";

/** What one client may cost the registry. Every field has a default in `defaultLimits`. */
export type RegistryLimits = {
  /** Longer manifests get 413. The spec asks for at least 4 MB. */
  readonly manifestSizeBytesMax: number;
  /** Longer blobs get 413. */
  readonly blobSizeBytesMax: number;
  /** Wait for the first byte of an upload's body [10 s], then between two of its bytes [30 s]. */
  readonly bodyFirstByteMsMax: number;
  readonly bodySilenceMsMax: number;
  /** One request's body, however steadily it trickles [6 h]. The upload itself can be resumed after that. */
  readonly bodyDurationMsMax: number;
  /** A client that takes no byte of a download for so long is cut off [60 s]. */
  readonly downloadSilenceMsMax: number;
  /** An upload that nobody touched for so long is swept [24 h]. */
  readonly uploadAgeMsMax: number;
  /** Unfinished uploads of one subject; more get 429. */
  readonly uploadsPerSubjectMax: number;
  /** Blobs received at once, all clients together; more get 429. Each costs a descriptor, and up to 512 KiB while
   * its client is faster than the disk. */
  readonly bodiesAtOnceMax: number;
  /** Entries in one page of a list. */
  readonly pageEntriesMax: number;
  /** Bytes of one page of referrers, unless a single entry is longer. The spec lets clients stop at 4 MiB. */
  readonly referrersPageBytesMax: number;
  /** `tag` parameters of one manifest PUT; more get 414. */
  readonly tagsPerPutMax: number;
  /** Parts of one multi-range answer; a request for more gets the whole blob. */
  readonly rangesMax: number;
  /** Repositories that are looked through for an anonymous mount. */
  readonly mountCandidatesMax: number;
};

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

export const defaultLimits: RegistryLimits = {
  manifestSizeBytesMax: MANIFEST_SIZE_BYTES_MAX,
  blobSizeBytesMax: 256 * 1024 ** 3,
  bodyFirstByteMsMax: 10_000,
  bodySilenceMsMax: 30_000,
  bodyDurationMsMax: 6 * HOUR_MS,
  downloadSilenceMsMax: MINUTE_MS,
  uploadAgeMsMax: 24 * HOUR_MS,
  uploadsPerSubjectMax: 10_000,
  bodiesAtOnceMax: 1_024,
  pageEntriesMax: 10_000,
  referrersPageBytesMax: 4 * 1024 * 1024,
  tagsPerPutMax: 64,
  rangesMax: 64,
  mountCandidatesMax: 100,
};
