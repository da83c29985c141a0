import { CodedError } from "@strata/protocol/errors";

/** Why the bucket did not do what it was asked for. */
export type S3ErrorCode =
  | "STORAGE_UNAVAILABLE" // No answer in time, too busy, or a fault of its own: worth another try.
  | "STORAGE_REFUSED" // No such bucket, or these credentials may not.
  | "EDQUOT" // Full. The system's own name, so that all drivers say it alike.
  | "EIO"; // What a record names is missing or no record: as good as a broken sector.

export class S3Error extends CodedError<S3ErrorCode> {}

/** What an S3 error means, by its `name`, which is the code that the server sent, and its HTTP status. */
export type S3Failure = {
  readonly name: string;
  readonly status: number | undefined;
};

/** Each server has its own word for "full". */
const fullNames: ReadonlySet<string> = new Set([
  "QuotaExceeded", // Ceph
  "XMinioStorageFull",
  "XMinioAdminBucketQuotaExceeded",
  "InsufficientStorage",
  "InsufficientCapacity",
  "EntityTooLarge", // Swift's quotas. Ours are never larger than one part may be.
]);

export function parseS3Failure(error: unknown): S3Failure {
  if (!(error instanceof Error)) return { name: "", status: undefined };
  const metadata: unknown = "$metadata" in error ? error.$metadata : undefined;
  const status =
    typeof metadata === "object" && metadata !== null && "httpStatusCode" in metadata
      ? metadata.httpStatusCode
      : undefined;
  return { name: error.name, status: typeof status === "number" ? status : undefined };
}

/** The object, or the multipart upload, is not there; the bucket is. */
export function isAbsence({ name }: S3Failure): boolean {
  // A HEAD has no body to name the code in, so the client names it by its status.
  return name === "NoSuchKey" || name === "NoSuchUpload" || name === "NotFound";
}

/** @param what the operation and its key, for the message */
export function toS3Error(cause: unknown, what: string): S3Error {
  if (cause instanceof S3Error) return cause;
  const { name, status } = parseS3Failure(cause);
  if (fullNames.has(name) || status === 507) {
    return new S3Error("EDQUOT", `${what}: the bucket is full`, { cause });
  }
  if (name === "CredentialsProviderError" || isRefusal(status)) {
    return new S3Error("STORAGE_REFUSED", `${what}: refused with ${name}`, {
      cause,
      hint: "check the bucket's name, its region, and what the credentials may do",
    });
  }
  return new S3Error("STORAGE_UNAVAILABLE", `${what}: no answer that could be used (${name})`, {
    cause,
    retryable: true,
    hint: "check that the endpoint can be reached, and try again",
  });
}

function isRefusal(status: number | undefined): boolean {
  // 408 and 429 ask for another try.
  return status !== undefined && status >= 300 && status < 500 && status !== 408 && status !== 429;
}
