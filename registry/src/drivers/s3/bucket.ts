import type { Readable } from "node:stream";

import { S3Client } from "@aws-sdk/client-s3";

import type { S3Location } from "./location.ts";
import { createMultipartCommands } from "./multipart-commands.ts";
import { createObjectCommands } from "./object-commands.ts";

export type S3Credentials = { readonly accessKeyId: string; readonly secretAccessKey: string };

/** How long the bucket may take, and what it takes at once. */
export type S3Limits = {
  /** To connect [5 s]. */
  readonly connectMsMax: number;
  /** Between two bytes of one request or answer [30 s]. */
  readonly silenceMsMax: number;
  /** One operation with all its tries; a download until its first byte [2 min]. */
  readonly operationMsMax: number;
  /** Tries of one operation, with growing pauses between them [4]. */
  readonly attemptsMax: number;
  /** Length of a part of a multipart upload [8 MiB]. Amazon takes none below 5 MiB but the last; each push under way
   * holds up to two in memory. */
  readonly partBytes: number;
  /** Parts of one multipart upload [1000, as many as Swift takes]. A longer blob is made of several. */
  readonly partsMax: number;
};

export const defaultS3Limits: S3Limits = {
  connectMsMax: 5_000,
  silenceMsMax: 30_000,
  operationMsMax: 120_000,
  attemptsMax: 4,
  partBytes: 8 * 1024 * 1024,
  partsMax: 1_000,
};

export type BucketOptions = {
  readonly location: S3Location;
  /** Left out, the SDK looks where every AWS tool does: environment, profile, role of the machine. */
  readonly credentials?: S3Credentials;
  readonly limits: S3Limits;
};

/** A multipart upload under way. */
export type Multipart = { readonly key: string; readonly uploadId: string };

/** Bytes `start` up to and including `end`, as HTTP counts. */
export type ObjectRange = { readonly start: number; readonly end: number };

/** What is done with objects, by their keys below the prefix. All throw S3Error. */
export type ObjectCommands = {
  /** The bytes of the range as they come; undefined when there is no such object, "beyond" when the range begins
   * behind its end. The caller reads the stream to its end or destroys it. */
  readonly get: (key: string, range: ObjectRange) => Promise<Readable | "beyond" | undefined>;
  /** A small object whole. */
  readonly getWhole: (key: string) => Promise<Uint8Array | undefined>;
  readonly sizeOf: (key: string) => Promise<number | undefined>;
  readonly put: (key: string, body: Uint8Array) => Promise<void>;
  /** Idempotent. */
  readonly delete: (key: string) => Promise<void>;
  /** Every key that begins so, in pages of a thousand. */
  readonly list: (start: string) => AsyncIterable<string>;
};

export type MultipartCommands = {
  readonly createMultipart: (key: string) => Promise<Multipart>;
  /** Gives the part's ETag; undefined when there is no such multipart upload (any more). Parts count from 1; the
   * same number again replaces it. */
  readonly putPart: (
    multipart: Multipart,
    part: { readonly number: number; readonly body: Uint8Array },
  ) => Promise<string | undefined>;
  /** Makes the parts one object. False when there is no such multipart upload (any more). */
  readonly completeMultipart: (multipart: Multipart, etags: readonly string[]) => Promise<boolean>;
  /** Idempotent. */
  readonly abortMultipart: (multipart: Multipart) => Promise<void>;
  readonly listMultiparts: (start: string) => AsyncIterable<Multipart>;
};

/** The operations of S3 that are needed. */
export type Bucket = ObjectCommands &
  MultipartCommands & {
    /** Closes the connections. */
    readonly close: () => void;
  };

/** Connections of downloads, each held as long as its client takes; more wait. */
const DOWNLOADS_MAX = 1_024;
/** Connections of all else, which is short: no number of slow clients may keep it waiting. */
const OPERATIONS_MAX = 128;

export function createBucket(options: BucketOptions): Bucket {
  const { location, limits } = options;
  const client = createClient(options, OPERATIONS_MAX);
  const downloads = createClient(options, DOWNLOADS_MAX);
  const place = {
    client,
    downloads,
    bucket: location.bucket,
    prefix: location.prefix,
    operationMsMax: limits.operationMsMax,
  };
  return {
    ...createObjectCommands(place),
    ...createMultipartCommands(place),
    close: () => {
      client.destroy();
      downloads.destroy();
    },
  };
}

function createClient(
  { location, credentials, limits }: BucketOptions,
  maxSockets: number,
): S3Client {
  const { endpoint, region } = location;
  const agent = { keepAlive: true, maxSockets };
  return new S3Client({
    region,
    ...(endpoint === undefined ? {} : { endpoint, forcePathStyle: true }),
    ...(credentials === undefined ? {} : { credentials }),
    maxAttempts: limits.attemptsMax,
    // Trailing checksums are an extension that many servers do not know. The bytes are vouched for by the signature,
    // which covers their hash, or by TLS, and in the end by their digest.
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    requestHandler: {
      connectionTimeout: limits.connectMsMax,
      socketTimeout: limits.silenceMsMax,
      httpAgent: agent,
      httpsAgent: agent,
    },
  });
}
