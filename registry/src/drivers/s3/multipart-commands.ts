import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  UploadPartCommand,
} from "@aws-sdk/client-s3";

import type { Multipart, MultipartCommands } from "./bucket.ts";
import { named, objectAt, orAbsent, parseText, type Place, within } from "./command.ts";

type MultipartParameters = ReturnType<typeof objectAt> & { readonly UploadId: string };

export function createMultipartCommands(place: Place): MultipartCommands {
  const { client } = place;
  const multipartAt = ({ key, uploadId }: Multipart): MultipartParameters => ({
    ...objectAt(place, key),
    UploadId: uploadId,
  });
  return {
    createMultipart: (key) =>
      named(`create multipart ${key}`, async () => {
        const command = new CreateMultipartUploadCommand(objectAt(place, key));
        const { UploadId } = await client.send(command, within(place));
        return { key, uploadId: parseText(UploadId, "UploadId") };
      }),
    putPart: (multipart, { number, body }) =>
      orAbsent(`put part ${number} of ${multipart.key}`, async () => {
        const part = { PartNumber: number, Body: body };
        const command = new UploadPartCommand({ ...multipartAt(multipart), ...part });
        return parseText((await client.send(command, within(place))).ETag, "ETag");
      }),
    completeMultipart: async (multipart, etags) => {
      const Parts = etags.map((ETag, index) => ({ ETag, PartNumber: index + 1 }));
      const command = new CompleteMultipartUploadCommand({
        ...multipartAt(multipart),
        MultipartUpload: { Parts },
      });
      const done = await orAbsent(`complete multipart ${multipart.key}`, () =>
        client.send(command, within(place)),
      );
      return done !== undefined;
    },
    abortMultipart: async (multipart) => {
      const command = new AbortMultipartUploadCommand(multipartAt(multipart));
      await orAbsent(`abort multipart ${multipart.key}`, () => client.send(command, within(place)));
    },
    listMultiparts: (start) => listMultiparts(place, start),
  };
}

async function* listMultiparts(place: Place, start: string): AsyncGenerator<Multipart> {
  const { client, bucket, prefix } = place;
  let marker: { readonly KeyMarker: string; readonly UploadIdMarker: string } | undefined;
  do {
    const command = new ListMultipartUploadsCommand({
      Bucket: bucket,
      Prefix: `${prefix}${start}`,
      ...marker,
    });
    const page = await named(`list multiparts ${start}`, () => client.send(command, within(place)));
    for (const { Key, UploadId } of page.Uploads ?? []) {
      const key = parseText(Key, "Key").slice(prefix.length);
      yield { key, uploadId: parseText(UploadId, "UploadId") };
    }
    marker =
      page.IsTruncated === true
        ? {
            KeyMarker: parseText(page.NextKeyMarker, "marker"),
            UploadIdMarker: parseText(page.NextUploadIdMarker, "marker"),
          }
        : undefined;
  } while (marker !== undefined);
}
