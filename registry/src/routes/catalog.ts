import type { Authorize } from "../authorize.ts";
import { answerJson } from "../http/answer.ts";
import { askAccess } from "../http/ask-access.ts";
import type { Exchange, Routes } from "../http/exchange.ts";
import { fetchPage, nextLink } from "../http/link.ts";
import { parsePage } from "../http/parameters.ts";
import type { RegistryLimits } from "../limits.ts";
import type { ManifestIndex } from "../metadata-store.ts";
import type { ResourceOf } from "../resource.ts";

export type CatalogRoutesOptions = {
  readonly metadata: Pick<ManifestIndex, "listRepositories">;
  readonly limits: RegistryLimits;
  readonly authorize: Authorize;
};

/** `/v2/_catalog`, of Docker's registry API; the OCI specification leaves it out. Lists what the caller may see, so
 * a page may have fewer than `n` entries and still a successor. */
export function createCatalogRoutes(options: CatalogRoutesOptions): Routes<ResourceOf<"catalog">> {
  return { GET: { action: "list", handle: (exchange) => listRepositories(options, exchange) } };
}

async function listRepositories(
  { metadata, limits, authorize }: CatalogRoutesOptions,
  { context, query }: Exchange<ResourceOf<"catalog">>,
): Promise<Response> {
  const page = parsePage(query, limits.pageEntriesMax);
  const { entries, more } = await fetchPage(page, metadata.listRepositories);
  const repositories: string[] = [];
  for (const repository of entries) {
    const access = await askAccess(context, authorize, { action: "list", repository });
    if (access.kind === "allowed") repositories.push(repository);
  }
  const last = entries.at(-1);
  const headers =
    more && last !== undefined ? nextLink("/v2/_catalog", { n: String(page.limit), last }) : {};
  return answerJson({ value: { repositories }, headers });
}
