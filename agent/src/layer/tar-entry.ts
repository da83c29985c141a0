/** What an entry of a layer is, once its headers are put together. Names are bytes in latin1. */
export type EntryType =
  | "file"
  | "directory"
  | "symlink"
  | "hardlink"
  | "character"
  | "block"
  | "fifo";

export type Xattr = { readonly name: string; readonly value: string };

export type TarEntry = {
  readonly type: EntryType;
  /** As written: `./` prefixes, trailing slashes and all. */
  readonly name: string;
  /** Of a symlink: its target. Of a hard link: the name of the file to link to. */
  readonly linkName: string;
  /** Permission bits with setuid, setgid and sticky. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeSeconds: number;
  readonly mtimeNanoseconds: number;
  /** Logical size of a file: a sparse one may carry fewer bytes. */
  readonly size: number;
  readonly sparse: boolean;
  readonly xattrs: readonly Xattr[];
};

/** Takes entries one at a time: `begin`, any number of `data`, `end`. Each may throw to stop the reading. */
export type EntrySink = {
  readonly begin: (entry: TarEntry) => void;
  /** `chunk` is only valid during the call; `position` is its place in the file. */
  readonly data: (chunk: Buffer, position: number) => void;
  readonly end: () => void;
};
