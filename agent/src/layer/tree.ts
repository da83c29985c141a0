/** The tree of everything that was unpacked so far, in memory: the proof that unpacking stays in its folder.
 *
 * A layer is unpacked into a folder that was empty, that only root can enter and that nobody else knows. Every path
 * handed to the kernel is built by `pathOf` from directories of this tree alone, and each of them was made by `mkdir`
 * of this program in that folder. So no component of such a path is a symbolic link, and the host's path walk has
 * nothing to follow. The archive's own links are followed here, in the tree, where there is no way out. */
import { overLimit, refused, showName } from "./errors.ts";

export type Attributes = {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeSeconds: number;
  readonly mtimeNanoseconds: number;
  readonly xattrs: readonly { readonly name: string; readonly value: string }[];
};

export type DirectoryNode = {
  readonly kind: "directory";
  /** From the root, without a leading slash; "" for the root. A directory never moves. */
  readonly path: string;
  readonly parent: DirectoryNode | undefined;
  readonly depth: number;
  readonly children: Map<string, TreeNode>;
  /** The last layer that named it or put something into it. */
  layer: number;
  /** Undefined until an entry describes it: a parent that the archive left out. */
  attributes: Attributes | undefined;
  /** Shows nothing of the layers below. */
  opaque: boolean;
  /** Names of the layers below that this layer takes away. */
  whiteouts: Set<string> | undefined;
};

/** What is set on an inode after everything is written. Shared by its hard links. */
export type LateAttributes = Pick<Attributes, "mtimeSeconds" | "mtimeNanoseconds" | "xattrs">;

export type LeafNode = {
  /** `skipped`: a device of the archive, which is not created. */
  readonly kind: "file" | "symlink" | "fifo" | "skipped";
  readonly layer: number;
  /** Where a symlink points. */
  readonly target: string;
  /** What is left to set on the inode once everything is written. */
  readonly late: LateAttributes | undefined;
  /** Of a fifo, which is made last. */
  readonly attributes: Attributes | undefined;
};

export type TreeNode = DirectoryNode | LeafNode;

export function newRoot(): DirectoryNode {
  return {
    kind: "directory",
    path: "",
    parent: undefined,
    depth: 0,
    children: new Map(),
    layer: 0,
    attributes: undefined,
    opaque: false,
    whiteouts: undefined,
  };
}

/** Adds an empty directory. The caller makes it on disk. */
export function addDirectory(parent: DirectoryNode, name: string, layer: number): DirectoryNode {
  const node: DirectoryNode = {
    ...newRoot(),
    path: pathOf(parent, name),
    parent,
    depth: parent.depth + 1,
    layer,
  };
  parent.children.set(name, node);
  return node;
}

/** `name` is a component: it holds no slash and is not `.` or `..`. */
export function pathOf(parent: DirectoryNode, name: string): string {
  return parent.path === "" ? name : `${parent.path}/${name}`;
}

export type WalkOptions = {
  /** The entry's name, for messages. */
  readonly name: string;
  readonly linkFollowsMax: number;
  readonly pathBytesMax: number;
  /** Called for a directory that is not there: makes it, or gives up on the walk by returning undefined. */
  readonly missing: (parent: DirectoryNode, name: string) => DirectoryNode | undefined;
  /** Whiteouts must not reach through links. */
  readonly followLinks: boolean;
};

/** Finds the directory that `components` name, following the archive's own links inside the tree; undefined when
 * `missing` gave up.
 * @throws LayerError for a way that leads out, through something else than a directory, or round in circles */
export function walkTo(
  root: DirectoryNode,
  components: readonly string[],
  options: WalkOptions,
): DirectoryNode | undefined {
  let node = root;
  // Reversed, so that a link's target is put in front by pushing.
  const pending = components.toReversed();
  let follows = 0;
  for (let component = pending.pop(); component !== undefined; component = pending.pop()) {
    if (component === "..") {
      if (node.parent === undefined)
        throw refused(options.name, "a symbolic link in the name leads out of the layer");
      node = node.parent;
      continue;
    }
    const child = node.children.get(component);
    if (child === undefined || child.kind === "directory") {
      const next = child ?? options.missing(node, component);
      if (next === undefined) return undefined;
      checkLength(next, options);
      node = next;
      continue;
    }
    if (child.kind !== "symlink")
      throw refused(options.name, `${showName(component)} in the name is not a directory`);
    if (!options.followLinks)
      throw refused(options.name, "a whiteout reaches through a symbolic link");
    follows += 1;
    if (follows > options.linkFollowsMax)
      throw refused(options.name, "too many symbolic links in the name");
    if (child.target.startsWith("/")) node = root;
    for (const part of child.target.split("/").toReversed()) {
      if (part !== "" && part !== ".") pending.push(part);
    }
  }
  return node;
}

/** A link near the root can make a name longer than what was checked when it was split. */
function checkLength(node: DirectoryNode, options: WalkOptions): void {
  if (node.path.length > options.pathBytesMax)
    throw overLimit(`entry ${showName(options.name)}: the path is too long`);
}
