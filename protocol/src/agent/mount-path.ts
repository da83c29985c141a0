/** Which paths of a container a volume or a file may take: absolute, in their shortest form, and not what the container
 * itself is made of. */

const PATH_LENGTH_MAX = 4096;
/** The kernel's own file systems; what is mounted on or in them decides how a container is kept apart. */
const reserved = ["/dev", "/proc", "/sys"];

/** What is wrong with a path of a volume or a file, in a few words; undefined when nothing is. Pure. */
export function findMountPathFault(path: string): string | undefined {
  // oxlint-disable-next-line no-control-regex -- these are exactly the characters to refuse
  if (!path.startsWith("/") || path.length > PATH_LENGTH_MAX || /[\u0000\n\r]/.test(path)) {
    return "is no absolute path on one line";
  }
  if (path === "/") return "is the root of the container";
  if (
    path
      .slice(1)
      .split("/")
      .some((part) => part === "" || part === "." || part === "..")
  ) {
    return "is not in its shortest form: no //, no . or .., no / at the end";
  }
  const taken = reserved.find((folder) => `${path}/`.startsWith(`${folder}/`));
  return taken === undefined ? undefined : `is in ${taken}, which the container itself needs`;
}

/** The first path that is there twice. Pure. */
export function findDuplicatePath(paths: readonly string[]): string | undefined {
  return paths.find((path, index) => paths.indexOf(path) !== index);
}
