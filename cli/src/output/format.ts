/** The output formats of everything that lists or shows resources. */
import { type Context, print } from "../context.ts";
import { getText, type Options, requireChoice } from "../options.ts";
import type { Kind } from "../resources/kind.ts";
import { painter } from "./style.ts";
import { formatTable } from "./table.ts";

const formats = ["table", "wide", "json", "yaml", "name"] as const;
export type Format = (typeof formats)[number];

/** Reads `--output`. @throws CliError USAGE */
export function parseFormat(options: Options): Format {
  return requireChoice(getText(options, "output") ?? "table", formats, "--output");
}

/** A list as a table, or as one JSON or YAML value. */
export async function printItems(
  context: Context,
  {
    kind,
    items,
    format,
  }: { readonly kind: Kind; readonly items: readonly object[]; readonly format: Format },
): Promise<void> {
  switch (format) {
    case "json":
    case "yaml":
      return printValue(context, items, format);
    case "name":
      for (const item of items) print(context, kind.nameOf(item));
      return;
    case "table":
    case "wide":
      return printTable(context, { kind, items, isWide: format === "wide" });
    default:
      return format satisfies never;
  }
}

export async function printValue(
  context: Context,
  value: object,
  format: "json" | "yaml",
): Promise<void> {
  if (format === "json") return print(context, JSON.stringify(value, null, 2));
  const { stringify } = await import("yaml");
  print(context, stringify(value).trimEnd());
}

function printTable(
  context: Context,
  {
    kind,
    items,
    isWide,
  }: { readonly kind: Kind; readonly items: readonly object[]; readonly isWide: boolean },
): void {
  const columns = kind.columns.filter((column) => isWide || column.isWide !== true);
  const now = context.now();
  const rows = items.map((item) => columns.map((column) => column.cell(item, now)));
  const [head = "", ...body] = formatTable(
    columns.map((column) => column.title),
    rows,
  ).split("\n");
  const paint = painter(context, context.stdout);
  print(context, [paint("bold", head), ...body].join("\n"));
}
