import type { Invocation } from "../command.ts";
import { getText } from "../options.ts";
import { parseFormat, printItems } from "../output/format.ts";
import { defineKind } from "../resources/kind.ts";
import { findConnection } from "../settings/connection.ts";
import { openStore } from "../store/client.ts";
import { listRepositories, listTags } from "../store/list.ts";

type Repository = { readonly name: string; readonly tags: readonly string[] };

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
  const names = await listRepositories(store);
  const items: Repository[] = [];
  for (const name of names) {
    items.push({ name, tags: await listTags(store, name) });
  }
  await printItems(context, { kind: repositories, items, format });
}
