/** What a store holds, page by page. */
import { parseAnswer } from "../api/resource.ts";
import { headerOf, refusal, type StoreClient } from "./client.ts";

/** Some servers write null for no tags. */
type Page = Readonly<Record<string, readonly string[] | null>>;

const PAGES_MAX = 1000;
const PAGE = 1000;

/** distribution-spec v1.1 has no catalog; this is the one that registries agree on. */
export function listRepositories(store: StoreClient): Promise<readonly string[]> {
  return readPages(store, "/v2/_catalog", "repositories");
}

/** distribution-spec v1.1, "Listing Tags". */
export function listTags(store: StoreClient, repository: string): Promise<readonly string[]> {
  return readPages(store, `/v2/${repository}/tags/list`, "tags");
}

async function readPages(
  store: StoreClient,
  path: string,
  field: string,
): Promise<readonly string[]> {
  const found: string[] = [];
  let next: string | undefined = `${path}?n=${PAGE}`;
  for (let page = 0; next !== undefined && page < PAGES_MAX; page += 1) {
    const answer = await store.send({ method: "GET", path: next });
    if (answer.status !== 200) throw refusal(answer, path);
    found.push(...(parseAnswer<Page>(answer.body)[field] ?? []));
    next = nextPage(headerOf(answer, "link"), store.origin);
  }
  return found;
}

/** `Link` names the next page; it is never at another server. */
export function nextPage(link: string | undefined, origin: string): string | undefined {
  const target = /<([^>]+)>\s*;\s*rel="?next"?/.exec(link ?? "")?.[1];
  const url = target === undefined ? null : URL.parse(target, origin);
  return url === null ? undefined : `${url.pathname}${url.search}`;
}
