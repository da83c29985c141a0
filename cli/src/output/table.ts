import { stripVTControlCharacters } from "node:util";

/** Columns as wide as their widest cell, two spaces apart, without blanks at the end of a line. */
export function formatTable(
  titles: readonly string[],
  rows: readonly (readonly string[])[],
): string {
  const lines = [titles, ...rows.map((row) => row.map(oneLine))];
  const widths = titles.map((_, column) =>
    Math.max(...lines.map((line) => line[column]?.length ?? 0)),
  );
  return lines
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** Text of others must not move the cursor or begin a line. */
export function oneLine(text: string): string {
  // oxlint-disable-next-line no-control-regex -- these are exactly the characters to take out
  return stripVTControlCharacters(text).replaceAll(/[\u0000-\u001f\u007f-\u009f]+/g, " ");
}
