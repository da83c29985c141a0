/** Applies the entries of layers to the working directory. Every call is synchronous: one system call at a time is
 * several times faster than a promise for each, and the whole runs in a process of its own. */
import * as fs from "node:fs";

import { getErrorCode } from "@strata/protocol/coded-error";

import { splitName, whiteoutMeaning } from "./entry-name.ts";
import { LayerError, overLimit, refused } from "./errors.ts";
import { hostFailure, hostPath } from "./host-calls.ts";
import type { LayerLimits } from "./limits.ts";
import type { EntrySink, TarEntry, Xattr } from "./tar-entry.ts";
import {
  addDirectory,
  type Attributes,
  type DirectoryNode,
  type LateAttributes,
  type LeafNode,
  pathOf,
  type TreeNode,
  walkTo,
} from "./tree.ts";
import { keepXattrs } from "./xattrs.ts";

/** What whiteouts do: become marks for overlayfs in a folder that holds one layer alone, or remove what the layers
 * below put into a tree that holds them all. */
export type WhiteoutPolicy = "overlay" | "apply";

/** What a layer brought. Lists hold the first [20] names, in latin1. */
export type LayerReport = {
  readonly entries: number;
  /** Logical bytes of files. */
  readonly fileBytes: number;
  readonly skippedDevices: Tally;
  readonly droppedXattrs: Tally;
};

export type Tally = { readonly count: number; readonly names: readonly string[] };

const NAMES_SHOWN_MAX = 20;
const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = fs.constants;
const OPEN_NEW = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;

type OpenFile = { readonly fd: number; readonly entry: TarEntry };

export type UnpackerOptions = {
  readonly root: DirectoryNode;
  readonly policy: WhiteoutPolicy;
  readonly limits: LayerLimits;
  /** Position of this layer among those that go into `root`, from 1. */
  readonly layer: number;
};

export class Unpacker implements EntrySink {
  readonly #root: DirectoryNode;
  readonly #policy: WhiteoutPolicy;
  readonly #limits: LayerLimits;
  readonly #layer: number;
  #file: OpenFile | undefined;
  /** Name of the entry at hand, for messages. */
  #name = "";
  #entries = 0;
  #fileBytes = 0;
  readonly #skippedDevices = newTally();
  readonly #droppedXattrs = newTally();

  constructor({ root, policy, limits, layer }: UnpackerOptions) {
    this.#root = root;
    this.#policy = policy;
    this.#limits = limits;
    this.#layer = layer;
  }

  begin(entry: TarEntry): void {
    this.#name = entry.name;
    this.#count(entry);
    this.#onHost(() => this.#place(entry));
  }

  data(chunk: Buffer, position: number): void {
    const file = this.#file;
    if (file === undefined) return;
    this.#onHost(() => {
      let done = 0;
      while (done < chunk.length) {
        done += fs.writeSync(
          file.fd,
          chunk,
          done,
          chunk.length - done,
          file.entry.sparse ? position + done : null,
        );
      }
    });
  }

  end(): void {
    const file = this.#file;
    if (file === undefined) return;
    this.#onHost(() => finishFile(file));
    this.close();
  }

  /** Closes the file at hand. To be called when the reading stops early. */
  close(): void {
    if (this.#file !== undefined) fs.closeSync(this.#file.fd);
    this.#file = undefined;
  }

  report(): LayerReport {
    return {
      entries: this.#entries,
      fileBytes: this.#fileBytes,
      skippedDevices: this.#skippedDevices,
      droppedXattrs: this.#droppedXattrs,
    };
  }

  #count(entry: TarEntry): void {
    this.#entries += 1;
    this.#fileBytes += entry.size;
    if (this.#entries > this.#limits.entriesMax)
      throw overLimit(`more than ${this.#limits.entriesMax} entries`);
    if (this.#fileBytes > this.#limits.unpackedBytesMax) {
      throw overLimit(`the files hold more than ${this.#limits.unpackedBytesMax} bytes`);
    }
  }

  /** Names the entry in whatever the host refuses. */
  #onHost(call: () => void): void {
    try {
      call();
    } catch (error) {
      if (error instanceof LayerError) throw error;
      throw hostFailure(this.#name, getErrorCode(error) ?? "an error", { cause: error });
    }
  }

  #place(entry: TarEntry): void {
    const components = splitName(entry.name, this.#limits);
    const name = components.at(-1);
    if (name === undefined) {
      if (entry.type !== "directory")
        throw refused(entry.name, "the root of a layer must be a directory");
      this.#describe(this.#root, entry);
      return;
    }
    const meaning = whiteoutMeaning(components, entry.name);
    switch (meaning.kind) {
      case "ignored":
        return;
      case "opaque":
      case "whiteout":
        this.#whiteOut(entry, components, meaning.kind === "whiteout" ? meaning.name : undefined);
        return;
      case "none":
        this.#create(entry, this.#requireParent(components), name);
        return;
      default:
        meaning satisfies never;
    }
  }

  #create(entry: TarEntry, parent: DirectoryNode, name: string): void {
    const existing = parent.children.get(name);
    if (entry.type === "directory") {
      const node =
        existing?.kind === "directory" ? existing : this.#makeDirectory(parent, name, existing);
      this.#describe(node, entry);
      return;
    }
    if (existing !== undefined) this.#remove(parent, name, existing);
    const path = pathOf(parent, name);
    if (path.length > this.#limits.pathBytesMax)
      throw overLimit(`more than ${this.#limits.pathBytesMax} bytes of path`);
    parent.children.set(name, this.#createLeaf(entry, path));
  }

  #createLeaf(entry: TarEntry, path: string): LeafNode {
    switch (entry.type) {
      case "file":
        return this.#createFile(entry, path);
      case "symlink":
        return this.#createSymlink(entry, path);
      case "hardlink":
        return this.#createHardLink(entry, path);
      case "fifo": {
        const attributes = this.#attributes(entry);
        return { ...this.#leaf("fifo"), attributes, late: attributes };
      }
      default:
        // An unprivileged container could not use a device node; the agent provides /dev.
        tally(this.#skippedDevices, entry.name);
        return this.#leaf("skipped");
    }
  }

  #createFile(entry: TarEntry, path: string): LeafNode {
    const late = this.#lateAttributes(entry);
    this.#file = { fd: fs.openSync(hostPath(path), OPEN_NEW, entry.mode & 0o777), entry };
    return { ...this.#leaf("file"), late };
  }

  #createSymlink(entry: TarEntry, path: string): LeafNode {
    const target = entry.linkName;
    if (target === "") throw refused(entry.name, "a symbolic link to nothing");
    if (target.length > this.#limits.pathBytesMax)
      throw overLimit(`a symbolic link of ${target.length} bytes`);
    const late = this.#lateAttributes(entry);
    const place = hostPath(path);
    fs.symlinkSync(hostPath(target), place);
    if (entry.uid !== 0 || entry.gid !== 0) fs.lchownSync(place, entry.uid, entry.gid);
    fs.lutimesSync(place, entry.mtimeSeconds, entry.mtimeSeconds);
    return { ...this.#leaf("symlink"), target, late };
  }

  /** A hard link shares the inode of its target and brings no attributes of its own. */
  #createHardLink(entry: TarEntry, path: string): LeafNode {
    const components = splitName(entry.linkName, this.#limits);
    const parent = this.#findParent(components, { followLinks: true });
    const targetName = components.at(-1) ?? "";
    const target = parent?.children.get(targetName);
    if (parent === undefined || target === undefined) {
      throw refused(entry.name, "a hard link to a file that is not there");
    }
    if (target.kind !== "file" && target.kind !== "symlink") {
      throw refused(entry.name, "a hard link to something that is not a file");
    }
    fs.linkSync(hostPath(pathOf(parent, targetName)), hostPath(path));
    return { ...target, layer: this.#layer };
  }

  #leaf(kind: LeafNode["kind"]): LeafNode {
    return { kind, layer: this.#layer, target: "", late: undefined, attributes: undefined };
  }

  #describe(node: DirectoryNode, entry: TarEntry): void {
    node.attributes = this.#attributes(entry);
    node.layer = this.#layer;
  }

  #attributes(entry: TarEntry): Attributes {
    const { mode, uid, gid, mtimeSeconds, mtimeNanoseconds } = entry;
    return { mode, uid, gid, mtimeSeconds, mtimeNanoseconds, xattrs: this.#keptXattrs(entry) };
  }

  #lateAttributes(entry: TarEntry): LateAttributes | undefined {
    const xattrs = this.#keptXattrs(entry);
    if (xattrs.length === 0 && entry.mtimeNanoseconds === 0) return undefined;
    return { mtimeSeconds: entry.mtimeSeconds, mtimeNanoseconds: entry.mtimeNanoseconds, xattrs };
  }

  #keptXattrs(entry: TarEntry): readonly Xattr[] {
    const { kept, dropped } = keepXattrs(entry, this.#limits);
    for (const name of dropped) tally(this.#droppedXattrs, name);
    return kept;
  }

  #makeDirectory(parent: DirectoryNode, name: string, existing?: TreeNode): DirectoryNode {
    if (existing !== undefined) this.#remove(parent, name, existing);
    // Its own mode comes last: a setgid bit would change the group of what is put into it.
    fs.mkdirSync(hostPath(pathOf(parent, name)), 0o700);
    return addDirectory(parent, name, this.#layer);
  }

  #requireParent(components: readonly string[]): DirectoryNode {
    const parent = walkTo(this.#root, components.slice(0, -1), {
      name: this.#name,
      ...this.#limits,
      missing: (node, name) => this.#makeDirectory(node, name),
      followLinks: true,
    });
    if (parent === undefined) throw refused(this.#name, "a directory of the name is not there");
    // Marks the way as part of this layer, so that a whiteout that comes later spares it.
    for (let node: DirectoryNode | undefined = parent; node !== undefined; node = node.parent)
      node.layer = this.#layer;
    return parent;
  }

  #findParent(
    components: readonly string[],
    { followLinks }: { readonly followLinks: boolean },
  ): DirectoryNode | undefined {
    return walkTo(this.#root, components.slice(0, -1), {
      name: this.#name,
      ...this.#limits,
      missing: () => undefined,
      followLinks,
    });
  }

  /** `hidden` undefined means all that the layers below have there. */
  #whiteOut(entry: TarEntry, components: readonly string[], hidden: string | undefined): void {
    // Builders on AUFS wrote whiteouts as hard links to one file.
    if (entry.type !== "file" && entry.type !== "hardlink")
      throw refused(entry.name, "a whiteout that is not a file");
    const found = this.#findParent(components, { followLinks: false });
    if (this.#policy === "apply") {
      if (found !== undefined) this.#hideBelow(found, hidden);
      return;
    }
    const parent = found ?? this.#requireParent(components);
    if (hidden === undefined) parent.opaque = true;
    else (parent.whiteouts ??= new Set()).add(hidden);
  }

  #hideBelow(directory: DirectoryNode, hidden: string | undefined): void {
    const names = hidden === undefined ? [...directory.children.keys()] : [hidden];
    for (const name of names) {
      const node = directory.children.get(name);
      if (node === undefined) continue;
      if (node.layer < this.#layer) this.#remove(directory, name, node);
      else if (node.kind === "directory") this.#hideBelow(node, undefined);
    }
  }

  #remove(parent: DirectoryNode, name: string, node: TreeNode): void {
    const path = pathOf(parent, name);
    if (node.kind === "directory") {
      for (const [childName, child] of node.children) this.#remove(node, childName, child);
      fs.rmdirSync(hostPath(path));
    } else if (node.kind === "file" || node.kind === "symlink") {
      fs.unlinkSync(hostPath(path));
    }
    parent.children.delete(name);
  }
}

function finishFile({ fd, entry }: OpenFile): void {
  if (entry.sparse) fs.ftruncateSync(fd, entry.size);
  if (entry.uid !== 0 || entry.gid !== 0) fs.fchownSync(fd, entry.uid, entry.gid);
  // After the owner, whose change takes these bits away.
  if ((entry.mode & 0o7000) !== 0) fs.fchmodSync(fd, entry.mode);
  fs.futimesSync(fd, entry.mtimeSeconds, entry.mtimeSeconds);
}

type MutableTally = { count: number; readonly names: string[] };

function newTally(): MutableTally {
  return { count: 0, names: [] };
}

function tally(into: MutableTally, name: string): void {
  into.count += 1;
  if (into.names.length < NAMES_SHOWN_MAX) into.names.push(name);
}
