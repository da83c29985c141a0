import { mediaTypes } from "@strata/protocol/oci/media-type";

import type { Exchange, Routes } from "../http/exchange.ts";
import { type Listed, nextLink } from "../http/link.ts";
import { parsePage, requireDigest } from "../http/parameters.ts";
import type { RegistryLimits } from "../limits.ts";
import type { ManifestIndex, Page } from "../metadata-store.ts";
import type { ResourceOf } from "../resource.ts";

export type ReferrersRoutesOptions = {
  readonly metadata: Pick<ManifestIndex, "listReferrers">;
  readonly limits: RegistryLimits;
};

const FETCHED_AT_ONCE = 16;

/** distribution-spec v1.1, "Listing Referrers" (end-12a, end-12b). Never 404: a client would take that for a
 * registry without the API and write fallback tags. */
export function createReferrersRoutes(
  options: ReferrersRoutesOptions,
): Routes<ResourceOf<"referrers">> {
  return { GET: { action: "pull", handle: (exchange) => listReferrers(options, exchange) } };
}

async function listReferrers(
  { metadata, limits }: ReferrersRoutesOptions,
  { resource: { repository, digest }, query }: Exchange<ResourceOf<"referrers">>,
): Promise<Response> {
  const subject = requireDigest(digest);
  const artifactType = query.get("artifactType") ?? undefined;
  const page = parsePage(query, limits.pageEntriesMax);
  const { entries, more } = await fetchWithin(page, limits.referrersPageBytesMax, (part) =>
    metadata.listReferrers({ ...part, repository, subject, artifactType }),
  );
  const last = entries.at(-1)?.digest;
  const filter = artifactType === undefined ? undefined : { artifactType };
  return new Response(formatIndex(entries.map((entry) => entry.referrer)), {
    headers: {
      "content-type": mediaTypes.index,
      ...(filter === undefined ? {} : { "oci-filters-applied": "artifactType" }),
      ...(more && last !== undefined
        ? nextLink(`/v2/${repository}/referrers/${subject}`, {
            ...filter,
            n: String(page.limit),
            last,
          })
        : {}),
    },
  });
}

/** A page that also ends before its bytes are too many; it has one entry at least, or a long one would stop the list
 * for good. Entries can be as long as manifests, so only a few are in memory beyond those that fit. */
async function fetchWithin<Entry extends { readonly digest: string; readonly referrer: string }>(
  page: Page,
  bytesMax: number,
  fetch: (page: Page) => Promise<readonly Entry[]>,
): Promise<Listed<Entry>> {
  const entries: Entry[] = [];
  let bytes = 0;
  let { last } = page;
  for (;;) {
    const batch = await fetch({ last, limit: FETCHED_AT_ONCE });
    for (const entry of batch) {
      bytes += Buffer.byteLength(entry.referrer) + 1;
      const full = entries.length >= page.limit || (entries.length > 0 && bytes > bytesMax);
      if (full) return { entries, more: true };
      entries.push(entry);
      last = entry.digest;
    }
    if (batch.length < FETCHED_AT_ONCE) return { entries, more: false };
  }
}

/** The entries are JSON already, written when the referrer was pushed. */
function formatIndex(descriptors: readonly string[]): string {
  return `{"schemaVersion":2,"mediaType":"${mediaTypes.index}","manifests":[${descriptors.join(",")}]}`;
}
