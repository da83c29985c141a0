import { delimiter, join } from "node:path";

import { root } from "./root.ts";

/** PATH with the project's own Node and tools first, as scripts/env makes it. */
export function toolPath(): string {
  const folders = [".tools/node_modules/.bin", "node_modules/.bin"].map((path) => join(root, path));
  return [...folders, process.env["PATH"] ?? ""].join(delimiter);
}
