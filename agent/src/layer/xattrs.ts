/** Which extended attributes of an image are kept. Pure. */
import { overLimit, refused, showName } from "./errors.ts";
import type { TarEntry, Xattr } from "./tar-entry.ts";

export type KeptXattrs = { readonly kept: readonly Xattr[]; readonly dropped: readonly string[] };

const nothing: KeptXattrs = { kept: [], dropped: [] };
/** The kernel's XATTR_NAME_MAX. */
const NAME_BYTES_MAX = 255;

/** Keeps `security.capability` of files and `user.*`. Everything else means something to this host's kernel
 * (`trusted.overlay.*`, access control lists, labels of other machines) and is left out.
 * @throws LayerError */
export function keepXattrs(
  entry: TarEntry,
  limits: { readonly xattrBytesMax: number },
): KeptXattrs {
  if (entry.xattrs.length === 0) return nothing;
  const kept: Xattr[] = [];
  const dropped: string[] = [];
  let bytes = 0;
  for (const xattr of entry.xattrs) {
    bytes += xattr.name.length + xattr.value.length;
    if (xattr.name.length > NAME_BYTES_MAX || bytes > limits.xattrBytesMax) {
      throw overLimit(
        `entry ${showName(entry.name)}: its extended attributes are over ${limits.xattrBytesMax} bytes`,
      );
    }
    if (isKept(xattr.name, entry)) kept.push(xattr);
    else dropped.push(xattr.name);
  }
  return { kept, dropped };
}

function isKept(name: string, entry: TarEntry): boolean {
  if (name === "security.capability") return entry.type === "file";
  if (!name.startsWith("user.") || name === "user." || name.startsWith("user.overlay."))
    return false;
  if (entry.type === "file" || entry.type === "directory") return true;
  throw refused(entry.name, "Linux has `user.` attributes on files and directories only");
}
