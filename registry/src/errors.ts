import { CodedError } from "@strata/protocol/errors";

/** The codes of distribution-spec v1.1, "Error Codes", then those of our own for what the spec has no word for. */
export type RegistryErrorCode =
  | "BLOB_UNKNOWN"
  | "BLOB_UPLOAD_INVALID"
  | "BLOB_UPLOAD_UNKNOWN"
  | "DIGEST_INVALID"
  | "MANIFEST_BLOB_UNKNOWN"
  | "MANIFEST_INVALID"
  | "MANIFEST_UNKNOWN"
  | "NAME_INVALID"
  | "NAME_UNKNOWN"
  | "SIZE_INVALID"
  | "UNAUTHORIZED"
  | "DENIED"
  | "UNSUPPORTED"
  | "TOOMANYREQUESTS"
  | "PAGINATION_NUMBER_INVALID" // `n` is not a number of entries.
  | "TAG_INVALID" // The reference is neither a tag nor a digest.
  | "RANGE_INVALID" // The range does not fit the blob, or the chunk does not follow the last byte stored.
  | "BLOB_IN_USE" // A manifest of the repository still needs the blob.
  | "UPLOAD_BUSY" // Another request is writing to this upload.
  | "UPLOAD_TIMEOUT" // The client fell silent; what it sent is kept and can be resumed.
  | "MANIFEST_TOO_LARGE"
  | "BLOB_TOO_LARGE"
  | "TOO_MANY_TAGS" // More `tag` parameters than one PUT may carry.
  | "INSUFFICIENT_STORAGE" // The disk of the store is full.
  | "UPSTREAM_UNREACHABLE" // The registry that this repository is mirrored from does not answer.
  | "UPSTREAM_FAULTY" // It answered, but refused us, or not with what it should have.
  | "STORAGE_UNAVAILABLE" // What keeps the blobs, a bucket of S3, does not answer: worth another try.
  | "INTERNAL"; // A fault of ours; the log has the cause.

const statuses: Readonly<Record<RegistryErrorCode, number>> = {
  BLOB_UNKNOWN: 404,
  BLOB_UPLOAD_INVALID: 400,
  BLOB_UPLOAD_UNKNOWN: 404,
  DIGEST_INVALID: 400,
  // The status that containerd and docker look for when a part of a manifest was not pushed.
  MANIFEST_BLOB_UNKNOWN: 400,
  MANIFEST_INVALID: 400,
  MANIFEST_UNKNOWN: 404,
  NAME_INVALID: 400,
  NAME_UNKNOWN: 404,
  SIZE_INVALID: 400,
  UNAUTHORIZED: 401,
  DENIED: 403,
  UNSUPPORTED: 405,
  TOOMANYREQUESTS: 429,
  PAGINATION_NUMBER_INVALID: 400,
  TAG_INVALID: 400,
  RANGE_INVALID: 416,
  BLOB_IN_USE: 409,
  UPLOAD_BUSY: 409,
  UPLOAD_TIMEOUT: 408,
  MANIFEST_TOO_LARGE: 413,
  BLOB_TOO_LARGE: 413,
  TOO_MANY_TAGS: 414,
  INSUFFICIENT_STORAGE: 507,
  UPSTREAM_UNREACHABLE: 503,
  UPSTREAM_FAULTY: 502,
  STORAGE_UNAVAILABLE: 503,
  INTERNAL: 500,
};

/** Headers of one answer. Plain, so that the node adapter can write them without a `Headers` object. */
export type HeaderRecord = Readonly<Record<string, string>>;

/** A request that the registry refuses. `headers` travel with the answer (`Allow`, `Range`, `Retry-After`). */
export class RegistryError extends CodedError<RegistryErrorCode> {
  readonly headers: HeaderRecord;

  constructor(
    code: RegistryErrorCode,
    message: string,
    options: {
      readonly cause?: unknown;
      readonly hint?: string;
      readonly headers?: HeaderRecord;
    } = {},
  ) {
    super(code, message, options);
    this.headers = options.headers ?? {};
  }
}

export function errorStatus(code: RegistryErrorCode): number {
  return statuses[code];
}
