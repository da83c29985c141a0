import type { Readable } from "node:stream";

import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
} from "@aws-sdk/client-s3";

import type { ObjectCommands, ObjectRange } from "./bucket.ts";
import { named, objectAt, orAbsent, parseText, type Place, within } from "./command.ts";
import { parseS3Failure } from "./errors.ts";

export function createObjectCommands(place: Place): ObjectCommands {
  const { client } = place;
  return {
    get: (key, range) => orAbsent(`get ${key}`, () => getRange(place, key, range)),
    getWhole: (key) =>
      orAbsent(`get ${key}`, async () => {
        const command = new GetObjectCommand(objectAt(place, key));
        const { Body } = await client.send(command, within(place));
        return Body === undefined ? new Uint8Array() : Body.transformToByteArray();
      }),
    sizeOf: (key) =>
      orAbsent(`head ${key}`, async () => {
        const command = new HeadObjectCommand(objectAt(place, key));
        return (await client.send(command, within(place))).ContentLength;
      }),
    put: (key, body) =>
      named(`put ${key}`, async () => {
        const command = new PutObjectCommand({ ...objectAt(place, key), Body: body });
        await client.send(command, within(place));
      }),
    delete: async (key) => {
      const command = new DeleteObjectCommand(objectAt(place, key));
      await orAbsent(`delete ${key}`, () => client.send(command, within(place)));
    },
    list: (start) => list(place, start),
  };
}

/** Only the time to the first byte is limited here: the reader of the stream has a limit of its own. */
async function getRange(
  place: Place,
  key: string,
  { start, end }: ObjectRange,
): Promise<Readable | "beyond"> {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), place.operationMsMax);
  const command = new GetObjectCommand({
    ...objectAt(place, key),
    Range: `bytes=${start}-${end}`,
  });
  try {
    const { Body } = await place.downloads.send(command, { abortSignal: controller.signal });
    return parseBody(Body);
  } catch (error) {
    if (parseS3Failure(error).status === 416) return "beyond";
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

async function* list(place: Place, start: string): AsyncGenerator<string> {
  const { client, bucket, prefix } = place;
  let next: string | undefined;
  do {
    const command = new ListObjectsV2Command({
      Bucket: bucket,
      Prefix: `${prefix}${start}`,
      ContinuationToken: next,
    });
    const page = await named(`list ${start}`, () => client.send(command, within(place)));
    for (const { Key } of page.Contents ?? []) yield parseText(Key, "Key").slice(prefix.length);
    next = page.IsTruncated === true ? parseText(page.NextContinuationToken, "token") : undefined;
  } while (next !== undefined);
}

function parseBody(body: unknown): Readable {
  // In Node the SDK gives the answer of node:http itself; its type also covers browsers.
  return body as Readable;
}
