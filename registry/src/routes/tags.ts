import { RegistryError } from "../errors.ts";
import { answerJson } from "../http/answer.ts";
import type { Exchange, Routes } from "../http/exchange.ts";
import { fetchPage, nextLink } from "../http/link.ts";
import { parsePage } from "../http/parameters.ts";
import type { RegistryLimits } from "../limits.ts";
import type { ManifestIndex } from "../metadata-store.ts";
import type { ResourceOf } from "../resource.ts";

export type TagRoutesOptions = {
  readonly metadata: Pick<ManifestIndex, "listTags">;
  readonly limits: RegistryLimits;
};

/** distribution-spec v1.1, "Listing Tags" (end-8a, end-8b). */
export function createTagRoutes(options: TagRoutesOptions): Routes<ResourceOf<"tags">> {
  return { GET: { action: "pull", handle: (exchange) => listTags(options, exchange) } };
}

async function listTags(
  { metadata, limits }: TagRoutesOptions,
  { resource: { repository }, query }: Exchange<ResourceOf<"tags">>,
): Promise<Response> {
  const page = parsePage(query, limits.pageEntriesMax);
  const { entries: tags, more } = await fetchPage(page, async (wider) => {
    const found = await metadata.listTags(repository, wider);
    if (found === undefined) throw unknownRepository(repository);
    return found;
  });
  const last = tags.at(-1);
  const headers =
    more && last !== undefined
      ? nextLink(`/v2/${repository}/tags/list`, { n: String(page.limit), last })
      : {};
  return answerJson({ value: { name: repository, tags }, headers });
}

function unknownRepository(repository: string): RegistryError {
  return new RegistryError("NAME_UNKNOWN", `nothing was ever pushed to ${repository}`);
}
