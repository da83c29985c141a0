/** What a layer that we write is made of: one entry of its archive. Paths are relative, without `./`, and name no
 * parent; ids are numbers; times are not kept, because every entry of a build gets the same one. */
import type { Readable } from "node:stream";

export type Entry = {
  readonly path: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
} & (
  | { readonly type: "directory" }
  | { readonly type: "fifo" }
  | { readonly type: "symlink" | "hardlink"; readonly target: string }
  | { readonly type: "file"; readonly size: number; readonly open: () => Readable }
);

/** The order of archive entries: by path, component by component, so that a folder comes before what it holds. */
export function comparePaths(left: string, right: string): number {
  const a = left.replaceAll("/", "\u0000");
  const b = right.replaceAll("/", "\u0000");
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
