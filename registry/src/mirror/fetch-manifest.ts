import { createHash } from "node:crypto";

import { type Digest, digestAlgorithm, isDigest, parseDigest } from "@strata/protocol/oci/digest";
import { manifestMediaTypes } from "@strata/protocol/oci/media-type";

import { RegistryError } from "../errors.ts";
import { describeManifest } from "../manifest/describe-manifest.ts";
import { type ParsedManifest, parseManifest } from "../manifest/parse-manifest.ts";
import type { PutManifest } from "../metadata-store.ts";
import { faulty } from "./errors.ts";
import type { MirroredRepository } from "./rules.ts";
import type { UpstreamAnswer, UpstreamClient } from "./upstream-client.ts";

/** A manifest of an upstream, verified, and not yet stored. */
export type FetchedManifest = {
  readonly digest: Digest;
  readonly body: Buffer;
  readonly parsed: ParsedManifest;
};

export type ManifestCall = {
  readonly client: UpstreamClient;
  readonly place: MirroredRepository;
  readonly reference: string;
  readonly signal: AbortSignal;
  readonly attemptsMax?: number;
};

const accept = manifestMediaTypes.join(", ");

/** What the tag points at now, without its bytes. Undefined when the upstream does not say, and must be asked in full.
 * @throws RegistryError MANIFEST_UNKNOWN, UPSTREAM_… */
export async function lookUpTag(call: ManifestCall): Promise<Digest | undefined> {
  const answer = await ask(call, "HEAD");
  answer.drop();
  if (answer.status === 404) throw unknown(call);
  const digest = answer.header("docker-content-digest");
  return answer.status === 200 && digest !== undefined && isDigest(digest) ? digest : undefined;
}

/** @throws RegistryError MANIFEST_UNKNOWN, UPSTREAM_… */
export async function fetchManifest(
  call: ManifestCall,
  sizeBytesMax: number,
): Promise<FetchedManifest> {
  const { upstream } = call.place.rule;
  const answer = await ask(call, "GET");
  if (answer.status !== 200) {
    answer.drop();
    if (answer.status === 404) throw unknown(call);
    throw faulty(upstream, `it answers ${answer.status} for a manifest`);
  }
  const body = await answer.bytes(sizeBytesMax);
  const wanted = wantedDigest(call, answer);
  const algorithm = wanted === undefined ? "sha256" : digestAlgorithm(wanted);
  const digest = parseDigest(`${algorithm}:${createHash(algorithm).update(body).digest("hex")}`);
  if (wanted !== undefined && wanted !== digest) {
    throw faulty(upstream, `its manifest ${wanted} hashes to ${digest}`);
  }
  try {
    return { digest, body, parsed: parseManifest(body, answer.header("content-type")) };
  } catch (cause) {
    throw faulty(upstream, `its manifest ${digest} is none that is stored here`, cause);
  }
}

/** For the metadata. A mirror has what was asked for, and not all that a manifest names. */
export function toStored(
  { digest, body, parsed }: FetchedManifest,
  place: { readonly repository: string; readonly tags: readonly string[]; readonly at: number },
): PutManifest {
  const described = describeManifest(parsed, { digest, body });
  const references = parsed.references.map((reference) => ({ ...reference, required: false }));
  return { ...described, ...place, references };
}

function ask(
  { client, place: { name }, reference, signal, attemptsMax }: ManifestCall,
  method: "GET" | "HEAD",
): Promise<UpstreamAnswer> {
  return client.request({
    method,
    path: `/v2/${name}/manifests/${reference}`,
    scope: `repository:${name}:pull`,
    headers: { accept },
    signal,
    ...(attemptsMax === undefined ? {} : { attemptsMax }),
  });
}

/** What was asked for, or else what the upstream says that it sent. */
function wantedDigest({ reference }: ManifestCall, answer: UpstreamAnswer): Digest | undefined {
  if (isDigest(reference)) return reference;
  const told = answer.header("docker-content-digest") ?? "";
  return isDigest(told) ? told : undefined;
}

function unknown({ place, reference }: ManifestCall): RegistryError {
  const { rule, name, repository } = place;
  return new RegistryError("MANIFEST_UNKNOWN", `${repository} has no manifest ${reference}`, {
    hint: `${rule.upstream}/${name} has none`,
  });
}
