import type { BenchReport } from "./bench.ts";

/** The table of a report, in Markdown: a person reads it as it is. Pure. */
export function renderTable({ results, goals }: BenchReport): string {
  const names = [...new Set(results.flatMap(({ peers }) => Object.keys(peers)))];
  const rows = [
    ["what", "unit", "n", "ours", ...names, "ratio", "ours min–max"],
    ...results.map(({ what, unit, n, ours, peers, ratio, min, max }) => [
      what,
      unit,
      String(n),
      String(ours),
      ...names.map((name) => String(peers[name] ?? "–")),
      ratio === null ? "–" : String(ratio),
      `${min["ours"] ?? "–"}–${max["ours"] ?? "–"}`,
    ]),
  ];
  const goalLines = goals.map(
    ({ what, goal, value, met }) => `- ${met ? "met" : "**not met**"}: ${what}: ${goal}: ${value}`,
  );
  return [...alignColumns(rows), ...(goalLines.length > 0 ? ["", ...goalLines] : [])].join("\n");
}

/** Puts a bench's section into the page, in place of an older one. Pure. */
export function replaceSection(page: string, name: string, section: string): string {
  const [open, close] = [`<!-- bench ${name} -->`, `<!-- end of bench ${name} -->`];
  const text = `${open}\n${section}\n${close}`;
  const [from, to] = [page.indexOf(open), page.indexOf(close)];
  return from < 0 || to < from
    ? `${page.trimEnd()}\n\n${text}\n`
    : `${page.slice(0, from)}${text}${page.slice(to + close.length)}`;
}

function alignColumns(rows: readonly (readonly string[])[]): readonly string[] {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" | ")} |`;
  const [head = [], ...body] = rows;
  const rule = `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`;
  return [line(head), rule, ...body.map((row) => line(row))];
}
