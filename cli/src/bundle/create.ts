/** Makes a bundle of what a store has. */
import { Readable } from "node:stream";

import type { Digest } from "@strata/protocol/oci/digest";
import { parseReference, type Reference } from "@strata/protocol/oci/reference";

import { scratchBeside } from "../cartridge/scratch.ts";
import { CliError } from "../errors.ts";
import { blobUrl, type StoreClient } from "../store/client.ts";
import { type Download, download } from "../store/download.ts";
import { listRepositories, listTags } from "../store/list.ts";
import type { PushProgress } from "../store/push.ts";
import { collect, type Collection } from "./collect.ts";
import { blobFile, sha256Of } from "./contents.ts";
import type { Known } from "./known.ts";
import { makeDeltas } from "./make-deltas.ts";
import { planBundle } from "./plan.ts";
import { type BundleFile, writeBundle } from "./write.ts";

export type CreateOptions = {
  readonly file: string;
  /** Nothing: all that the store has. */
  readonly references: readonly Reference[];
  /** What the other side has; layers that changed a little are then told as deltas. */
  readonly findKnown: (collection: Collection) => Promise<Known | undefined>;
  readonly extras: readonly ExtraFile[];
  readonly progress: PushProgress;
  readonly signal: AbortSignal;
};

/** A file of a bundle that is no image. */
export type ExtraFile = {
  readonly path: string;
  readonly digest: Digest;
  readonly size: number;
  readonly open: () => Readable;
};

export type Created = {
  readonly id: Digest;
  readonly images: number;
  /** Blobs that the receiver has. */
  readonly leftOut: number;
  readonly deltas: number;
};

/** @throws CliError REFUSED, UNREACHABLE, USAGE */
export async function createBundle(store: StoreClient, options: CreateOptions): Promise<Created> {
  const { references, extras, file, signal } = options;
  const wanted = references.length === 0 ? await listAll(store) : references;
  if (wanted.length === 0) throw new CliError("USAGE", "the store has no images to bundle");
  const collection = await collect(store, wanted);
  await using scratch = await scratchBeside(file);
  const known = await options.findKnown(collection);
  const request = { collection, known, files: extras };
  const whole = planBundle({ ...request, deltas: [] });
  const made =
    known === undefined
      ? []
      : await makeDeltas({ store, known, blobs: whole.blobs, scratch: scratch.path, signal });
  const plan = planBundle({ ...request, deltas: made.map(({ delta }) => delta) });
  const { index, contents } = plan;
  const blobs = plan.blobs.map(({ digest, size, repository }) =>
    fetched(store, { path: blobUrl(repository, digest), digest, size }, options),
  );
  const files = [...blobs, ...made.map((delta) => delta.file), ...extras];
  await writeBundle(file, { index, contents, manifests: collection.manifests, files });
  return {
    id: sha256Of(contents),
    images: collection.entries.filter(({ tag }) => tag !== undefined).length,
    leftOut: plan.required.length,
    deltas: made.length,
  };
}

async function listAll(store: StoreClient): Promise<readonly Reference[]> {
  const found: Reference[] = [];
  for (const repository of await listRepositories(store)) {
    const tags = await listTags(store, repository);
    found.push(...tags.map((tag) => parseReference(`${repository}:${tag}`)));
  }
  return found;
}

function fetched(
  store: StoreClient,
  blob: Download,
  { progress, signal }: CreateOptions,
): BundleFile {
  async function* read(): AsyncGenerator<Buffer> {
    const { digest, size } = blob;
    progress.onBegin(digest, size);
    let received = 0;
    for await (const chunk of download(store, blob, signal)) {
      received += chunk.length;
      progress.onSent(digest, received);
      yield chunk;
    }
    progress.onEnd(digest, "packed");
  }
  const open = (): Readable => Readable.from(read(), { objectMode: false });
  return { path: blobFile(blob.digest), size: blob.size, open };
}
