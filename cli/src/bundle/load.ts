/** Brings a bundle into a store: everything is checked first, then blobs, manifests, and the tags last. What is there
 * is not sent again, so a load that was interrupted goes on where it was. */
import type { Readable } from "node:stream";

import type { Digest } from "@strata/protocol/oci/digest";

import { CliError } from "../errors.ts";
import { refusal, type StoreClient } from "../store/client.ts";
import { inTurns, type PushProgress } from "../store/push.ts";
import { uploadBlob } from "../store/upload.ts";
import { invalidBundle } from "./invalid.ts";
import type { Manifest } from "./manifest.ts";
import type { Bundle } from "./read.ts";
import { createReceiver, type Receiver } from "./receiver.ts";
import { type NeededBlob, type RepositoryPlan, verifyBundle } from "./verify.ts";

export type LoadOptions = {
  readonly isDryRun: boolean;
  readonly progress: PushProgress;
  readonly signal: AbortSignal;
  readonly onChecked: (bytes: number) => void;
  /** An image is there under its name. */
  readonly onLoaded: (name: string, digest: Digest) => void;
};

/** @throws CliError LAYOUT_INVALID before anything is written; REFUSED, UNREACHABLE */
export async function loadBundle(
  store: StoreClient,
  bundle: Bundle,
  options: LoadOptions,
): Promise<void> {
  const plans = await verifyBundle(bundle, options.onChecked);
  const receiver = createReceiver(store);
  const holders = await requireHolders(receiver, bundle, plans);
  for (const plan of plans) {
    if (!options.isDryRun) await pushRepository({ store, bundle, holders, options }, plan);
    for (const { tag, descriptor } of plan.tags) {
      options.onLoaded(`${plan.repository}:${tag}`, descriptor.digest);
    }
  }
}

type Holders = ReadonlyMap<Digest, string>;

/** Where each blob that the bundle leaves out can be had.
 * @throws CliError LAYOUT_INVALID when the store lacks one */
async function requireHolders(
  receiver: Receiver,
  bundle: Bundle,
  plans: readonly RepositoryPlan[],
): Promise<Holders> {
  const holders = new Map<Digest, string>();
  for (const { repository, blobs } of plans) {
    for (const { digest, origin } of blobs.values()) {
      if (origin.kind !== "required") continue;
      const holder = await receiver.findHolder(digest, repository);
      if (holder === undefined) throw lacking(bundle, digest);
      holders.set(digest, holder);
    }
  }
  return holders;
}

function lacking({ path, contents }: Bundle, digest: Digest): CliError {
  const first =
    contents.base === undefined
      ? "bring the store to the state that the bundle was made for, or create it without --since"
      : `load the bundle that it builds on first: ${contents.base}`;
  return new CliError("LAYOUT_INVALID", `${path} leaves out ${digest}, which the store lacks`, {
    hint: first,
  });
}

type Push = {
  readonly store: StoreClient;
  readonly bundle: Bundle;
  readonly holders: Holders;
  readonly options: LoadOptions;
};

async function pushRepository(push: Push, plan: RepositoryPlan): Promise<void> {
  const { repository, blobs, manifests, tags } = plan;
  await inTurns([...blobs.values()], (blob) => pushBlob(push, repository, blob));
  for (const manifest of manifests.values()) {
    await putManifest(push, manifest, { repository, reference: manifest.descriptor.digest });
  }
  for (const { tag, descriptor } of tags) {
    const manifest = manifests.get(descriptor.digest);
    if (manifest !== undefined) await putManifest(push, manifest, { repository, reference: tag });
  }
}

async function pushBlob(push: Push, repository: string, blob: NeededBlob): Promise<void> {
  const { store, bundle, holders, options } = push;
  const { digest, size, origin } = blob;
  const { signal, progress } = options;
  if (origin.kind === "required")
    return mount(push, repository, { digest, from: holders.get(digest) });
  progress.onBegin(digest, size);
  const open = (start: number): Readable => openOrigin(bundle, blob, start);
  const outcome = await uploadBlob(
    store,
    { digest, size, open },
    { repository, signal, onProgress: (bytes) => progress.onSent(digest, bytes) },
  );
  progress.onEnd(digest, outcome);
}

function openOrigin(bundle: Bundle, { digest, origin }: NeededBlob, start: number): Readable {
  if (origin.kind === "archive") return bundle.archive.stream(origin.file, start);
  throw invalidBundle(bundle.path, `blob ${digest} cannot be read`);
}

/** distribution-spec v1.1, "Mounting a blob from another repository". */
async function mount(
  { store, bundle }: Push,
  repository: string,
  { digest, from }: { readonly digest: Digest; readonly from: string | undefined },
): Promise<void> {
  if (from === undefined) throw lacking(bundle, digest);
  if (from === repository) return;
  const query = new URLSearchParams({ mount: digest, from }).toString();
  const answer = await store.send({
    method: "POST",
    path: `/v2/${repository}/blobs/uploads/?${query}`,
    headers: { "content-length": "0" },
  });
  if (answer.status !== 201) throw refusal(answer, `blob ${digest} of ${from} in ${repository}`);
}

async function putManifest(
  { store }: Push,
  { descriptor, bytes }: Manifest,
  { repository, reference }: { readonly repository: string; readonly reference: string },
): Promise<void> {
  const answer = await store.send({
    method: "PUT",
    path: `/v2/${repository}/manifests/${reference}`,
    headers: { "content-type": descriptor.mediaType },
    body: bytes,
  });
  if (answer.status !== 201) throw refusal(answer, `manifest ${repository} ${reference}`);
}
