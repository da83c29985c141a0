/** Lists of an upstream: its repositories, its tags, and what refers to an image. */
import type { Digest } from "@strata/protocol/oci/digest";
import { type Descriptor, ImageIndex } from "@strata/protocol/oci/image";
import { isRepository, isTag } from "@strata/protocol/oci/reference";
import { z } from "zod";

import type { Page } from "../metadata-store.ts";
import { faulty } from "./errors.ts";
import type { MirrorRule } from "./rules.ts";
import type { UpstreamClient } from "./upstream-client.ts";

export type ListCall = {
  readonly client: UpstreamClient;
  readonly rule: MirrorRule;
  readonly signal: AbortSignal;
  readonly attemptsMax?: number;
};

const LIST_BYTES_MAX = 8 * 1024 * 1024;
const PAGE = 1_000;
/** Pages of one list. */
const PAGES_MAX = 1_000;

const Tags = z.object({ tags: z.array(z.string()).nullish() });
const Catalog = z.object({ repositories: z.array(z.string()).nullish() });

/** Undefined when the upstream knows no such repository. Some upstreams give more than `limit`, or all. */
export async function listUpstreamTags(
  call: ListCall,
  name: string,
  { last, limit }: Page,
): Promise<readonly string[] | undefined> {
  const query = { n: String(limit), ...(last === undefined ? {} : { last }) };
  const value = await list(call, {
    path: `/v2/${name}/tags/list?${new URLSearchParams(query).toString()}`,
    scope: `repository:${name}:pull`,
  });
  if (value === undefined) return undefined;
  const parsed = Tags.safeParse(value);
  if (!parsed.success) throw faulty(call.rule.upstream, "its list of tags is none", parsed.error);
  return (parsed.data.tags ?? [])
    .filter((tag) => isTag(tag) && (last === undefined || tag > last))
    .toSorted(byBytes)
    .slice(0, limit);
}

/** All tags, page after page. */
export async function* walkUpstreamTags(call: ListCall, name: string): AsyncGenerator<string> {
  let last: string | undefined;
  for (let page = 0; page < PAGES_MAX; page += 1) {
    const tags = (await listUpstreamTags(call, name, { last, limit: PAGE })) ?? [];
    yield* tags;
    if (tags.length === 0) return;
    last = tags.at(-1);
  }
}

/** All repositories, page after page; many upstreams have no such list for us. */
export async function* walkUpstreamRepositories(call: ListCall): AsyncGenerator<string> {
  let last: string | undefined;
  for (let page = 0; page < PAGES_MAX; page += 1) {
    const query = { n: String(PAGE), ...(last === undefined ? {} : { last }) };
    const value = await list(call, {
      path: `/v2/_catalog?${new URLSearchParams(query).toString()}`,
      scope: "registry:catalog:*",
    });
    const parsed = Catalog.safeParse(value);
    if (!parsed.success) throw faulty(call.rule.upstream, "it has no catalog", parsed.error);
    const before = last;
    const names = (parsed.data.repositories ?? [])
      .filter((name) => isRepository(name) && (before === undefined || name > before))
      .toSorted(byBytes);
    yield* names;
    if (names.length === 0) return;
    last = names.at(-1);
  }
}

/** The first page of what refers to a manifest. Empty also where the upstream does not know the question. */
export async function listUpstreamReferrers(
  call: ListCall,
  name: string,
  digest: Digest,
): Promise<readonly Descriptor[]> {
  const value = await list(call, {
    path: `/v2/${name}/referrers/${digest}`,
    scope: `repository:${name}:pull`,
  });
  const parsed = ImageIndex.safeParse(value);
  return parsed.success ? parsed.data.manifests : [];
}

async function list(
  { client, rule, signal, attemptsMax }: ListCall,
  { path, scope }: { readonly path: string; readonly scope: string },
): Promise<unknown> {
  const attempts = attemptsMax === undefined ? {} : { attemptsMax };
  const answer = await client.request({ method: "GET", path, scope, signal, ...attempts });
  if (answer.status === 404) {
    answer.drop();
    return undefined;
  }
  const body = await answer.bytes(LIST_BYTES_MAX);
  if (answer.status !== 200) throw faulty(rule.upstream, `it answers ${answer.status} for a list`);
  try {
    return JSON.parse(body.toString("utf8"));
  } catch (cause) {
    throw faulty(rule.upstream, "a list of it is no JSON", cause);
  }
}

function byBytes(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
