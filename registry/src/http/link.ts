import type { HeaderRecord } from "../errors.ts";
import type { Page } from "../metadata-store.ts";

export type Listed<Entry> = { readonly entries: readonly Entry[]; readonly more: boolean };

/** Fetches a page and learns whether there is another. A page of no entries has no successor:
 * distribution-spec v1.1, "Listing Tags". */
export async function fetchPage<Entry>(
  page: Page,
  fetch: (page: Page) => Promise<readonly Entry[]>,
): Promise<Listed<Entry>> {
  const entries = await fetch({ last: page.last, limit: page.limit + 1 });
  return {
    entries: entries.slice(0, page.limit),
    more: page.limit > 0 && entries.length > page.limit,
  };
}

/** The `Link` header to the page after `last`: RFC 8288. Relative, since `Host` is not ours to trust. */
export function nextLink(path: string, parameters: Readonly<Record<string, string>>): HeaderRecord {
  return { link: `<${path}?${new URLSearchParams(parameters).toString()}>; rel="next"` };
}
