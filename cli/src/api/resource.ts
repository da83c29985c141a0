/** JSON of the API as the types of the protocol. */
import type { ApiClient } from "./client.ts";

type Page = { readonly items: readonly object[]; readonly next: string | null };

/** Pages of one list; a list longer than this is for a program, not for a person. */
const PAGES_MAX = 1000;

/** The server's schema made this text, and ours is the same one; checking it here again would cost 0.1 s of loading
 * zod at every start. */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the one place that names an answer's type
export function parseAnswer<Resource>(text: string): Resource {
  return JSON.parse(text) as Resource;
}

export async function getResource<Resource>(client: ApiClient, path: string): Promise<Resource> {
  return parseAnswer<Resource>((await client.send({ method: "GET", path })).body);
}

/** The whole of a list, page by page. */
export async function listResources<Resource extends object>(
  client: ApiClient,
  path: string,
): Promise<readonly Resource[]> {
  const found: object[] = [];
  let after: string | null = null;
  for (let page = 0; page < PAGES_MAX; page += 1) {
    const query: string =
      after === null ? "" : `${path.includes("?") ? "&" : "?"}after=${encodeURIComponent(after)}`;
    const { items, next }: Page = await getResource<Page>(client, path + query);
    found.push(...items);
    if (next === null) break;
    after = next;
  }
  return parseItems<Resource>(found);
}

/** See `parseAnswer`. */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- as above
function parseItems<Resource>(items: readonly object[]): readonly Resource[] {
  return items as readonly Resource[];
}

export async function sendResource<Resource>(
  client: ApiClient,
  request: { readonly method: "PUT" | "POST"; readonly path: string; readonly body: object },
): Promise<Resource> {
  const { body } = await client.send({
    ...request,
    headers: { "content-type": "application/json" },
    body: JSON.stringify(request.body),
  });
  return parseAnswer<Resource>(body);
}
