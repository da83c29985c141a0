/** Pushes images of an OCI layout: blobs first, then manifests from the inside out, the tag last. */
import type { Digest } from "@strata/protocol/oci/digest";
import { type Descriptor, ImageIndex, ImageManifest } from "@strata/protocol/oci/image";
import { isIndex } from "@strata/protocol/oci/media-type";

import { openBlob, parseJson, readManifestBytes, requireBlobs } from "../cartridge/layout.ts";
import { CliError } from "../errors.ts";
import { CONNECTIONS_MAX, refusal, type StoreClient } from "./client.ts";
import { uploadBlob, type UploadOutcome } from "./upload.ts";

export type PushOptions = {
  readonly repository: string;
  readonly tag: string;
  readonly signal: AbortSignal;
  readonly progress: PushProgress;
};

/** What a progress display is told. */
export type PushProgress = {
  readonly onBegin: (digest: Digest, sizeBytes: number) => void;
  readonly onSent: (digest: Digest, sentBytes: number) => void;
  readonly onEnd: (digest: Digest, outcome: TransferOutcome) => void;
};

/** `packed`: written into a bundle. `delta`: only what changed was. */
export type TransferOutcome = UploadOutcome | "packed" | "delta";

const NESTING_MAX = 4;

/** Pushes what `image` names, and the tag. */
export async function pushImage(
  store: StoreClient,
  from: { readonly layout: string; readonly image: Descriptor },
  options: PushOptions,
): Promise<void> {
  const push = createPush(store, from.layout, options);
  await push.descend(from.image, 0);
  await push.manifest(from.image, options.tag);
}

type Push = {
  /** Pushes all that a manifest or index refers to, but not itself. */
  readonly descend: (descriptor: Descriptor, depth: number) => Promise<void>;
  readonly manifest: (descriptor: Descriptor, reference: string) => Promise<void>;
};

function createPush(store: StoreClient, layout: string, options: PushOptions): Push {
  const { repository, progress, signal } = options;
  const sent = new Set<string>();

  async function blob({ digest, size }: Descriptor): Promise<void> {
    if (sent.has(digest)) return;
    sent.add(digest);
    progress.onBegin(digest, size);
    const outcome = await uploadBlob(
      store,
      { digest, size, open: (start) => openBlob(layout, digest, start) },
      { repository, signal, onProgress: (bytes) => progress.onSent(digest, bytes) },
    );
    progress.onEnd(digest, outcome);
  }

  async function descend(descriptor: Descriptor, depth: number): Promise<void> {
    if (depth > NESTING_MAX) {
      throw new CliError("LAYOUT_INVALID", `indexes are nested over ${NESTING_MAX} deep`);
    }
    const bytes = await readManifestBytes(layout, descriptor);
    const content = parseJson(bytes.toString(), descriptor.digest);
    if (isIndex(descriptor.mediaType)) {
      for (const child of ImageIndex.parse(content).manifests) {
        await descend(child, depth + 1);
        await manifest(child, child.digest);
      }
      return;
    }
    const image = ImageManifest.parse(content);
    await requireBlobs(layout, image);
    await inTurns([image.config, ...image.layers], blob);
  }

  async function manifest(descriptor: Descriptor, reference: string): Promise<void> {
    const answer = await store.send({
      method: "PUT",
      path: `/v2/${repository}/manifests/${reference}`,
      headers: { "content-type": descriptor.mediaType },
      body: await readManifestBytes(layout, descriptor),
    });
    if (answer.status !== 201) throw refusal(answer, `manifest ${descriptor.digest}`);
  }

  return { descend, manifest };
}

/** Some at a time, in order; the first failure ends it. */
export async function inTurns<Item>(
  items: readonly Item[],
  work: (item: Item) => Promise<void>,
): Promise<void> {
  const queue = items.values();
  const workers = Array.from({ length: Math.min(CONNECTIONS_MAX, items.length) }, async () => {
    for (const item of queue) await work(item);
  });
  await Promise.all(workers);
}
