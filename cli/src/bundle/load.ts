/** Brings a bundle into a store: everything is checked first, then blobs, manifests, and the tags last. What is there
 * is not sent again, so a load that was interrupted goes on where it was. */
import { createReadStream } from "node:fs";
import type { Readable } from "node:stream";

import type { Digest } from "@strata/protocol/oci/digest";
import type { SigningKey } from "@strata/protocol/signature/public-key";

import { scratchBeside } from "../cartridge/scratch.ts";
import { CliError } from "../errors.ts";
import { refusal, type StoreClient } from "../store/client.ts";
import { inTurns, type PushProgress } from "../store/push.ts";
import { uploadBlob } from "../store/upload.ts";
import { invalidBundle } from "./invalid.ts";
import type { Manifest } from "./manifest.ts";
import type { Bundle } from "./read.ts";
import { rebuildBlob } from "./rebuild.ts";
import { createReceiver, type Receiver } from "./receiver.ts";
import { requireSigned } from "./require-signed.ts";
import { type NeededBlob, type RepositoryPlan, verifyBundle } from "./verify.ts";

const READ_BYTES = 1024 * 1024;

export type LoadOptions = {
  readonly isDryRun: boolean;
  /** Beside this path blobs are kept that come as deltas, for as long as the load takes. */
  readonly scratch: string;
  /** With none, signatures do not matter. */
  readonly keys: readonly SigningKey[];
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
  const { keys, signal } = options;
  if (keys.length > 0) await requireSigned({ store, bundle, keys, holders, signal }, plans);
  await using scratch =
    bundle.contents.deltas.length === 0 ? undefined : await scratchBeside(options.scratch);
  const rebuilt = await rebuildAll(
    { store, bundle, receiver, holders, options },
    {
      plans,
      scratch: scratch?.path,
    },
  );
  for (const plan of plans) {
    if (!options.isDryRun) await pushRepository({ store, bundle, holders, rebuilt, options }, plan);
    for (const { tag, descriptor } of plan.tags) {
      options.onLoaded(`${plan.repository}:${tag}`, descriptor.digest);
    }
  }
}

/** Where each blob that the bundle leaves out can be had.
 * @throws CliError LAYOUT_INVALID when the store lacks one */
async function requireHolders(
  receiver: Receiver,
  bundle: Bundle,
  plans: readonly RepositoryPlan[],
): Promise<Map<Digest, string>> {
  const holders = new Map<Digest, string>();
  for (const { repository, blobs } of plans) {
    for (const { digest, origin } of blobs.values()) {
      if (origin.kind !== "required") continue;
      holders.set(digest, await requireBlob(receiver, bundle, { digest, repository }));
    }
  }
  return holders;
}

async function requireBlob(
  receiver: Receiver,
  bundle: Bundle,
  { digest, repository }: { readonly digest: Digest; readonly repository: string },
): Promise<string> {
  const holder = await receiver.findHolder(digest, repository);
  if (holder === undefined) throw lacking(bundle, digest);
  return holder;
}

type Rebuild = Omit<Push, "rebuilt" | "holders"> & {
  readonly receiver: Receiver;
  readonly holders: Map<Digest, string>;
};

/** Every blob that comes as a delta, as a file; once, whatever repositories want it. What the store has already, from a
 * load that was interrupted, joins the holders instead. */
async function rebuildAll(
  { store, bundle, receiver, holders, options }: Rebuild,
  {
    plans,
    scratch,
  }: { readonly plans: readonly RepositoryPlan[]; readonly scratch: string | undefined },
): Promise<ReadonlyMap<Digest, string>> {
  const files = new Map<Digest, string>();
  if (scratch === undefined) return files;
  const { signal } = options;
  for (const { repository, blobs } of plans) {
    const requireHolder = (digest: Digest): Promise<string> =>
      requireBlob(receiver, bundle, { digest, repository });
    for (const { digest, origin } of blobs.values()) {
      if (origin.kind !== "delta" || files.has(digest) || holders.has(digest)) continue;
      const holder = await receiver.findHolder(digest, repository);
      if (holder === undefined) {
        const context = { store, bundle, scratch, requireHolder, signal };
        files.set(digest, await rebuildBlob(context, origin.delta));
      } else {
        holders.set(digest, holder);
      }
    }
  }
  return files;
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
  readonly holders: ReadonlyMap<Digest, string>;
  readonly rebuilt: ReadonlyMap<Digest, string>;
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
  const { store, holders, options } = push;
  const { digest, size, origin } = blob;
  const { signal, progress } = options;
  if (origin.kind === "required" || holders.has(digest))
    return mount(push, repository, { digest, from: holders.get(digest) });
  progress.onBegin(digest, size);
  const open = (start: number): Readable => openOrigin(push, blob, start);
  const outcome = await uploadBlob(
    store,
    { digest, size, open },
    { repository, signal, onProgress: (bytes) => progress.onSent(digest, bytes) },
  );
  progress.onEnd(digest, outcome);
}

function openOrigin(
  { bundle, rebuilt }: Push,
  { digest, origin }: NeededBlob,
  start: number,
): Readable {
  if (origin.kind === "archive") return bundle.archive.stream(origin.file, start);
  const file = rebuilt.get(digest);
  if (file !== undefined) return createReadStream(file, { start, highWaterMark: READ_BYTES });
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
