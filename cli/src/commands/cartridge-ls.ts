import { parseAnswer } from "../api/resource.ts";
import type { Invocation } from "../command.ts";
import { getText } from "../options.ts";
import { parseFormat, printItems } from "../output/format.ts";
import { defineKind } from "../resources/kind.ts";
import { findConnection } from "../settings/connection.ts";
import { headerOf, openStore, refusal, type StoreClient } from "../store/client.ts";

/** Some servers write null for no tags. */
type Page = Readonly<Record<string, readonly string[] | null>>;
type Repository = { readonly name: string; readonly tags: readonly string[] };

const PAGES_MAX = 1000;
const PAGE = 1000;

const repositories = defineKind<Repository>({
  kind: "Repository",
  names: ["repositories"],
  path: "/v2/_catalog",
  nameOf: (item) => item.name,
  columns: [
    { title: "REPOSITORY", cell: (item) => item.name },
    { title: "TAGS", cell: (item) => item.tags.join(", ") },
  ],
});

export async function run({ context, options }: Invocation): Promise<void> {
  const format = parseFormat(options);
  const connection = await findConnection(context, getText(options, "context"));
  await using store = openStore(connection, context.signal);
  const names = await readPages(store, "/v2/_catalog", "repositories");
  const items: Repository[] = [];
  for (const name of names) {
    items.push({ name, tags: await readPages(store, `/v2/${name}/tags/list`, "tags") });
  }
  await printItems(context, { kind: repositories, items, format });
}

/** distribution-spec v1.1, "Listing Tags": `Link` names the next page. */
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
    next = nextOf(headerOf(answer, "link"), store.origin);
  }
  return found;
}

function nextOf(link: string | undefined, origin: string): string | undefined {
  const target = /<([^>]+)>\s*;\s*rel="?next"?/.exec(link ?? "")?.[1];
  const url = target === undefined ? null : URL.parse(target, origin);
  return url === null ? undefined : `${url.pathname}${url.search}`;
}
