import type { Digest } from "@strata/protocol/oci/digest";

import { RegistryError } from "../errors.ts";
import { type BlobFetch, startBlobFetch } from "./blob-fetch.ts";
import { faulty } from "./errors.ts";
import type { FindClient, MirrorParts } from "./parts.ts";
import { mayFetch, type MirroredRepository } from "./rules.ts";
import type { UpstreamAnswer } from "./upstream-client.ts";

export type MirroredBlobs = {
  /** The fetch that brings the blob, begun now or before; undefined when the blob is here, or may not be fetched.
   * @throws RegistryError TOOMANYREQUESTS, UPSTREAM_… */
  readonly fetch: (place: MirroredRepository, digest: Digest) => Promise<BlobFetch | undefined>;
  /** Size of a blob that is not here; undefined when it is, when the upstream has none, or may not be asked. */
  readonly findMissingSize: (
    place: MirroredRepository,
    digest: Digest,
  ) => Promise<number | undefined>;
  /** The bytes straight from the upstream, not verified and not stored; undefined when it has none. */
  readonly read: (
    place: MirroredRepository,
    digest: Digest,
  ) => Promise<AsyncIterable<Uint8Array> | undefined>;
};

export type MirroredBlobOptions = MirrorParts & {
  readonly findClient: FindClient;
  readonly signal: AbortSignal;
};

/** Fetches under way, of all clients together. */
const FETCHES_MAX = 128;
const LOOK_UP_MS_MAX = 15_000;
const RETRY_AFTER_SECONDS = "10";

type State = MirroredBlobOptions & {
  readonly fetches: Map<string, Promise<BlobFetch | undefined>>;
};

export function createMirroredBlobs(options: MirroredBlobOptions): MirroredBlobs {
  const state: State = { ...options, fetches: new Map() };
  return {
    fetch: async (place, digest) => {
      const { fetches } = state;
      const key = `${place.repository}@${digest}`;
      const running = fetches.get(key);
      if (running !== undefined) return running;
      if ((await state.metadata.findBlob(place.repository, digest)) !== undefined) return undefined;
      if (!mayFetch(place)) return undefined;
      // Another one may have begun while this one looked.
      const begun = fetches.get(key) ?? begin(state, place, digest);
      fetches.set(key, begun);
      const forget = (): void => void fetches.delete(key);
      begun.then((fetch) => fetch?.done.then(forget, forget) ?? forget(), forget);
      return begun;
    },
    findMissingSize: async (place, digest) => {
      const here = await state.metadata.findBlob(place.repository, digest);
      return here === undefined ? findSize(state, place, digest) : undefined;
    },
    read: async (place, digest) => {
      if (!mayFetch(place)) return undefined;
      const signal = AbortSignal.any([
        state.signal,
        AbortSignal.timeout(state.limits.bodyDurationMsMax),
      ]);
      const answer = await ask(state, place, { digest, method: "GET", signal });
      if (answer.status === 200) return answer.chunks();
      answer.drop();
      return undefined;
    },
  };
}

async function begin(
  state: State,
  place: MirroredRepository,
  digest: Digest,
): Promise<BlobFetch | undefined> {
  if (state.fetches.size >= FETCHES_MAX) {
    throw new RegistryError("TOOMANYREQUESTS", "too many blobs are being fetched", {
      hint: "try again later",
      headers: { "retry-after": RETRY_AFTER_SECONDS },
    });
  }
  if (await takeFromNeighbour(state, place, digest)) return undefined;
  const signal = AbortSignal.any([
    state.signal,
    AbortSignal.timeout(state.limits.bodyDurationMsMax),
  ]);
  return startBlobFetch({ ...state, signal }, place, digest);
}

/** Layers are shared by many images. When the bytes are here and the upstream says that this repository has them, they
 * need not travel again. */
async function takeFromNeighbour(
  state: State,
  place: MirroredRepository,
  digest: Digest,
): Promise<boolean> {
  const { metadata, clock, quota } = state;
  const { repository } = place;
  const [from] = await metadata.listRepositoriesWithBlob(digest, 1);
  if (from === undefined || (await findSize(state, place, digest)) === undefined) return false;
  return metadata.mountBlob({ from, repository, digest, at: clock(), quota: quota(repository) });
}

async function findSize(
  state: State,
  place: MirroredRepository,
  digest: Digest,
): Promise<number | undefined> {
  if (!mayFetch(place)) return undefined;
  const signal = AbortSignal.any([state.signal, AbortSignal.timeout(LOOK_UP_MS_MAX)]);
  const answer = await ask(state, place, { digest, method: "HEAD", signal });
  answer.drop();
  if (answer.status === 404) return undefined;
  const text = answer.header("content-length") ?? "";
  if (answer.status === 200 && /^\d{1,15}$/.test(text)) return Number(text);
  throw faulty(place.rule.upstream, `it answers ${answer.status} for the length of a blob`);
}

type Question = {
  readonly digest: Digest;
  readonly method: "GET" | "HEAD";
  readonly signal: AbortSignal;
};

function ask(
  { findClient }: State,
  { rule, name }: MirroredRepository,
  { digest, method, signal }: Question,
): Promise<UpstreamAnswer> {
  return findClient(rule).request({
    method,
    path: `/v2/${name}/blobs/${digest}`,
    scope: `repository:${name}:pull`,
    signal,
  });
}
