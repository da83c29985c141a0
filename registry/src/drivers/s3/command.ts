import type { S3Client } from "@aws-sdk/client-s3";

import { isAbsence, parseS3Failure, S3Error, toS3Error } from "./errors.ts";

/** Where the commands go. */
export type Place = {
  readonly client: S3Client;
  /** For answers that are taken as slowly as a client of ours does. */
  readonly downloads: S3Client;
  readonly bucket: string;
  readonly prefix: string;
  readonly operationMsMax: number;
};

/** The parameters that name an object, by its key below the prefix. */
export function objectAt(
  { bucket, prefix }: Place,
  key: string,
): { readonly Bucket: string; readonly Key: string } {
  return { Bucket: bucket, Key: `${prefix}${key}` };
}

/** A limit for one command with all its tries. */
export function within({ operationMsMax }: Place): { readonly abortSignal: AbortSignal } {
  return { abortSignal: AbortSignal.timeout(operationMsMax) };
}

/** Makes an S3Error of what the SDK throws, with what was being done. */
export async function named<Result>(what: string, body: () => Promise<Result>): Promise<Result> {
  try {
    return await body();
  } catch (error) {
    throw toS3Error(error, what);
  }
}

/** Undefined when the object, or the multipart upload, is not there. */
export async function orAbsent<Result>(
  what: string,
  body: () => Promise<Result>,
): Promise<Result | undefined> {
  return named(what, async () => {
    try {
      return await body();
    } catch (error) {
      if (isAbsence(parseS3Failure(error))) return undefined;
      throw error;
    }
  });
}

/** Text that every answer of this kind has. @throws S3Error STORAGE_UNAVAILABLE when it has not */
export function parseText(text: string | undefined, what: string): string {
  if (text !== undefined) return text;
  throw new S3Error("STORAGE_UNAVAILABLE", `the server's answer has no ${what}`);
}
