import { pipeline, type Readable, Transform } from "node:stream";
/** One blob into the store: skipped when it is there, resumed where it broke off. */
import { setTimeout as delay } from "node:timers/promises";

import type { Digest } from "@strata/protocol/oci/digest";

import { CliError } from "../errors.ts";
import { blobUrl, headerOf, refusal, type StoreAnswer, type StoreClient } from "./client.ts";

export type Blob = {
  readonly digest: Digest;
  readonly size: number;
  /** The bytes from `start` on. */
  readonly open: (start: number) => Readable;
};

export type UploadOptions = {
  readonly repository: string;
  readonly signal: AbortSignal;
  /** Told how many bytes of the blob are sent so far; goes back when a transfer starts over. */
  readonly onProgress: (sentBytes: number) => void;
};

/** `exists` and `mounted`: not a byte of it was sent. */
export type UploadOutcome = "exists" | "mounted" | "sent";

const ATTEMPTS_MAX = 5;
const DELAY_FIRST_MS = 250;
const OCTETS = "application/octet-stream";

/** Where an upload goes on: its address, and how much of the blob it has. */
type Upload = { readonly path: string; readonly start: number };

/** @throws CliError UNREACHABLE after ATTEMPTS_MAX attempts, or REFUSED */
export async function uploadBlob(
  store: StoreClient,
  blob: Blob,
  options: UploadOptions,
): Promise<UploadOutcome> {
  const head = await store.send({ method: "HEAD", path: blobUrl(options.repository, blob.digest) });
  if (head.status === 200) return "exists";
  if (head.status !== 404) throw refusal(head, `blob ${blob.digest}`);
  let broken: Upload | undefined;
  for (let attempt = 1; ; attempt += 1) {
    try {
      const resumed = broken === undefined ? undefined : await findOffset(store, broken.path);
      const upload = resumed ?? (await startUpload(store, blob, options.repository));
      if (upload === "mounted") return upload;
      broken = upload;
      await sendBlob(store, blob, { ...options, ...upload });
      return "sent";
    } catch (error) {
      if (!(error instanceof CliError) || !error.retryable || attempt >= ATTEMPTS_MAX) throw error;
      await delay(DELAY_FIRST_MS * 2 ** (attempt - 1), undefined, { signal: options.signal });
    }
  }
}

/** distribution-spec v1.1, "Mounting a blob from another repository", without `from`: the store looks for itself. A
 * store that does not, begins an upload, which is what else we want. */
async function startUpload(
  store: StoreClient,
  blob: Blob,
  repository: string,
): Promise<"mounted" | Upload> {
  const answer = await store.send({
    method: "POST",
    path: `/v2/${repository}/blobs/uploads/?mount=${encodeURIComponent(blob.digest)}`,
    headers: { "content-length": "0" },
  });
  if (answer.status === 201) return "mounted";
  if (answer.status !== 202) throw refusal(answer, `upload of ${blob.digest}`);
  return { path: locationOf(answer, store), start: 0 };
}

/** distribution-spec v1.1, "Pushing a blob in chunks": one chunk from where the upload is to the end. */
async function sendBlob(
  store: StoreClient,
  blob: Blob,
  upload: UploadOptions & Upload,
): Promise<void> {
  const path =
    upload.start < blob.size ? locationOf(await sendRest(store, blob, upload), store) : upload.path;
  const done = await store.send({
    method: "PUT",
    path: `${path}${path.includes("?") ? "&" : "?"}digest=${encodeURIComponent(blob.digest)}`,
    headers: { "content-length": "0", "content-type": OCTETS },
  });
  if (done.status !== 201) throw refusal(done, `blob ${blob.digest}`);
}

async function sendRest(
  store: StoreClient,
  blob: Blob,
  at: UploadOptions & Upload,
): Promise<StoreAnswer> {
  const counter = counting(at.start, at.onProgress);
  // Errors reach the request through `counter`; the callback only says that they are not lost.
  const body = pipeline(blob.open(at.start), counter, () => undefined);
  const answer = await store.send({
    method: "PATCH",
    path: at.path,
    headers: {
      "content-length": String(blob.size - at.start),
      "content-type": OCTETS,
      "content-range": `${at.start}-${blob.size - 1}`,
    },
    body,
  });
  if (answer.status !== 202) throw refusal(answer, `blob ${blob.digest}`);
  return answer;
}

/** Asks how much of a broken upload has arrived; undefined when the store has forgotten it. */
async function findOffset(store: StoreClient, path: string): Promise<Upload | undefined> {
  const answer = await store.send({ method: "GET", path });
  if (answer.status !== 204) return undefined;
  const last = /^(?:bytes=)?0-(\d+)$/.exec(headerOf(answer, "range") ?? "")?.[1];
  // `0-0` means nothing or one byte; from nothing is always right to ask again.
  const start = last === undefined || last === "0" ? 0 : Number(last) + 1;
  return start === 0 ? undefined : { path: locationOf(answer, store), start };
}

/** The next address of an upload: relative or absolute, but never at another server. */
function locationOf(answer: StoreAnswer, store: StoreClient): string {
  const location = headerOf(answer, "location");
  const url = location === undefined ? null : URL.parse(location, store.origin);
  if (url === null) throw new CliError("REFUSED", "the store did not say where to send the blob");
  return `${url.pathname}${url.search}`;
}

function counting(start: number, onProgress: (sentBytes: number) => void): Transform {
  let sent = start;
  return new Transform({
    transform(chunk: Buffer, _encoding, done): void {
      sent += chunk.length;
      onProgress(sent);
      done(null, chunk);
    },
  });
}
