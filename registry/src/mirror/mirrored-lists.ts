import { isDigest } from "@strata/protocol/oci/digest";
import { mediaTypes } from "@strata/protocol/oci/media-type";

import { answerJson } from "../http/answer.ts";
import type { Exchange } from "../http/exchange.ts";
import { fetchPage, nextLink } from "../http/link.ts";
import { parsePage } from "../http/parameters.ts";
import type { ResourceOf } from "../resource.ts";
import type { FindClient, MirrorParts } from "./parts.ts";
import { mayFetch, type MirroredRepository } from "./rules.ts";
import type { UpstreamHealth } from "./upstream-health.ts";
import { type ListCall, listUpstreamReferrers, listUpstreamTags } from "./upstream-lists.ts";

/** The upstream's lists; undefined where ours is to be used: what is not mirrored, or cannot be asked now. */
export type MirroredLists = {
  readonly answerTags: (exchange: Exchange<ResourceOf<"tags">>) => Promise<Response | undefined>;
  readonly answerReferrers: (
    exchange: Exchange<ResourceOf<"referrers">>,
  ) => Promise<Response | undefined>;
};

export type MirroredListOptions = Pick<MirrorParts, "limits" | "logger"> & {
  readonly find: (repository: string) => MirroredRepository | undefined;
  readonly findClient: FindClient;
  readonly health: UpstreamHealth;
  readonly signal: AbortSignal;
};

const LOOK_UP_MS_MAX = 10_000;

export function createMirroredLists(options: MirroredListOptions): MirroredLists {
  return {
    answerTags: (exchange) =>
      ask(options, exchange.resource.repository, (call, name) =>
        tags(options, exchange, { call, name }),
      ),
    answerReferrers: (exchange) =>
      ask(options, exchange.resource.repository, (call, name) =>
        referrers(exchange, { call, name }),
      ),
  };
}

async function ask(
  { find, findClient, health, logger, signal }: MirroredListOptions,
  repository: string,
  body: (call: ListCall, name: string) => Promise<Response | undefined>,
): Promise<Response | undefined> {
  const place = find(repository);
  if (place === undefined || !mayFetch(place) || health.isDown(place.rule)) return undefined;
  const { rule, name } = place;
  const call: ListCall = {
    rule,
    client: findClient(rule),
    attemptsMax: 1,
    signal: AbortSignal.any([signal, AbortSignal.timeout(LOOK_UP_MS_MAX)]),
  };
  try {
    return await body(call, name);
  } catch (error) {
    health.note(rule, error);
    logger.warn({ err: error, repository }, "list not looked up: ours is served");
    return undefined;
  }
}

type Source = { readonly call: ListCall; readonly name: string };

async function tags(
  { limits }: MirroredListOptions,
  { resource: { repository }, query }: Exchange<ResourceOf<"tags">>,
  { call, name }: Source,
): Promise<Response | undefined> {
  const page = parsePage(query, limits.pageEntriesMax);
  let known = true;
  const { entries, more } = await fetchPage(page, async (wider) => {
    const found = await listUpstreamTags(call, name, wider);
    known = found !== undefined;
    return found ?? [];
  });
  if (!known) return undefined;
  const last = entries.at(-1);
  const headers =
    more && last !== undefined
      ? nextLink(`/v2/${repository}/tags/list`, { n: String(page.limit), last })
      : {};
  return answerJson({ value: { name: repository, tags: entries }, headers });
}

/** Nothing there is also what an upstream without such lists says; then ours has at least what was pulled through. */
async function referrers(
  { resource: { digest }, query }: Exchange<ResourceOf<"referrers">>,
  { call, name }: Source,
): Promise<Response | undefined> {
  if (!isDigest(digest)) return undefined;
  const wanted = query.get("artifactType");
  const found = await listUpstreamReferrers(call, name, digest);
  if (found.length === 0) return undefined;
  const manifests = found.filter(({ artifactType }) => wanted === null || artifactType === wanted);
  return answerJson({
    value: { schemaVersion: 2, mediaType: mediaTypes.index, manifests },
    headers: {
      "content-type": mediaTypes.index,
      ...(wanted === null ? {} : { "oci-filters-applied": "artifactType" }),
    },
  });
}
