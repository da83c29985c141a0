import { mediaTypes } from "@strata/protocol/oci/media-type";

import type { Exchange, Routes } from "../http/exchange.ts";
import { fetchPage, nextLink } from "../http/link.ts";
import { parsePage, requireDigest } from "../http/parameters.ts";
import type { RegistryLimits } from "../limits.ts";
import type { ManifestIndex } from "../metadata-store.ts";
import type { ResourceOf } from "../resource.ts";

export type ReferrersRoutesOptions = {
  readonly metadata: Pick<ManifestIndex, "listReferrers">;
  readonly limits: RegistryLimits;
};

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
  const listed = await fetchPage(page, (wider) =>
    metadata.listReferrers({ ...wider, repository, subject, artifactType }),
  );
  const entries = takeWithin(listed.entries, limits.referrersPageBytesMax);
  const last = entries.at(-1)?.digest;
  const more = listed.more || entries.length < listed.entries.length;
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

/** As many entries as fit; at least one, or a long one would stop the list for good. */
function takeWithin<Entry extends { readonly referrer: string }>(
  entries: readonly Entry[],
  bytesMax: number,
): readonly Entry[] {
  let bytes = 0;
  const end = entries.findIndex((entry, index) => {
    bytes += Buffer.byteLength(entry.referrer) + 1;
    return index > 0 && bytes > bytesMax;
  });
  return end < 0 ? entries : entries.slice(0, end);
}

/** The entries are JSON already, written when the referrer was pushed. */
function formatIndex(descriptors: readonly string[]): string {
  return `{"schemaVersion":2,"mediaType":"${mediaTypes.index}","manifests":[${descriptors.join(",")}]}`;
}
