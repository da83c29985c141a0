/** Calls on the host's file system, by paths that `pathOf` built, relative to the working directory: the folder that
 * is being unpacked into. That keeps each path as short as in the archive, so PATH_MAX is the archive's alone.
 *
 * `mknod`, `lsetxattr` and `utimensat` with nanoseconds are not in `node:fs`. They are gathered and made by one perl
 * at the end (perl-base is essential on Debian and Ubuntu); a layer without any of them starts no perl. */
import process from "node:process";
import { text } from "node:stream/consumers";

import { startPiped, waitForEnd } from "../host/run-tool.ts";
import { LayerError, refused, showName } from "./errors.ts";
import { isAscii } from "./tar-header.ts";

/** Deno turns paths into text: other bytes than UTF-8 would be written as U+FFFD, and two names could become one. */
const textPathsOnly = "Deno" in globalThis;

/** A path for `node:fs`: ASCII as text, which is fastest, the rest as bytes. */
export function hostPath(path: string): string | Buffer {
  if (isAscii(path)) return path;
  const bytes = Buffer.from(path, "latin1");
  if (textPathsOnly && !Buffer.from(bytes.toString("utf8")).equals(bytes)) {
    throw refused(path, "Deno cannot write names that are not UTF-8: use the agent's own binary");
  }
  return bytes;
}

type LateCall = {
  readonly kind: "whiteout" | "fifo" | "xattr" | "times";
  readonly path: string;
  readonly fields: readonly Buffer[];
};

export type FifoAttributes = { readonly mode: number; readonly uid: number; readonly gid: number };

/** Gathers calls, and makes them in order. */
export class LateCalls {
  readonly #calls: LateCall[] = [];

  /** What overlayfs takes for "not here": a character device 0/0. */
  whiteout(path: string): void {
    this.#calls.push({ kind: "whiteout", path, fields: [] });
  }

  fifo(path: string, { mode, uid, gid }: FifoAttributes): void {
    this.#calls.push({
      kind: "fifo",
      path,
      fields: [mode, uid, gid].map((value) => Buffer.from(String(value))),
    });
  }

  /** Does not follow a link at `path`. */
  xattr(path: string, name: string, value: string): void {
    this.#calls.push({
      kind: "xattr",
      path,
      fields: [Buffer.from(name, "latin1"), Buffer.from(value, "latin1")],
    });
  }

  /** Does not follow a link at `path`. Access and modification time are the same. */
  times(path: string, seconds: number, nanoseconds: number): void {
    const timespecs = Buffer.alloc(32);
    for (const at of [0, 16]) {
      timespecs.writeBigInt64LE(BigInt(seconds), at);
      timespecs.writeBigInt64LE(BigInt(nanoseconds), at + 8);
    }
    this.#calls.push({ kind: "times", path, fields: [timespecs] });
  }

  /** @throws LayerError LAYER_WRITE_FAILED, LAYER_NO_SPACE or LAYER_REFUSED, naming the entry */
  async run(): Promise<void> {
    if (this.#calls.length === 0) return;
    const numbers = Object.hasOwn(systemCalls, process.arch)
      ? systemCalls[process.arch]
      : undefined;
    if (numbers === undefined) {
      throw new LayerError(
        "LAYER_WRITE_FAILED",
        `no system call numbers are known for ${process.arch}`,
      );
    }
    const perl = startPiped("perl", ["-e", script, ...numbers.map(String)]);
    // It stops reading at the first failure, which its output tells.
    perl.stdin.on("error", () => undefined);
    perl.stdin.end(Buffer.concat(this.#calls.map(encodeCall)));
    perl.stderr.resume();
    const [output, status] = await Promise.all([text(perl.stdout), waitForEnd(perl, "perl")]);
    if (status !== 0) throw this.#failure(output);
  }

  #failure(output: string): LayerError {
    const [index, errno] = output.trim().split(" ").map(Number);
    const call = this.#calls[index ?? Number.NaN];
    if (call === undefined) {
      return new LayerError(
        "LAYER_WRITE_FAILED",
        "perl, which makes device nodes and attributes, did not run",
        { hint: "install the package perl-base" },
      );
    }
    if (call.kind === "xattr" && errno === EINVAL)
      return refused(call.path, "an extended attribute is not valid");
    return hostFailure(call.path, errnoName(errno ?? 0));
  }
}

const EINVAL = 22;
const errnoNames: Readonly<Record<number, string>> = {
  1: "EPERM",
  5: "EIO",
  13: "EACCES",
  17: "EEXIST",
  28: "ENOSPC",
  36: "ENAMETOOLONG",
  95: "EOPNOTSUPP",
  122: "EDQUOT",
};

function errnoName(errno: number): string {
  return errnoNames[errno] ?? `errno ${errno}`;
}

/** What to throw when the host refused a call for `path`. */
export function hostFailure(
  path: string,
  code: string,
  options: { readonly cause?: unknown } = {},
): LayerError {
  const noSpace = code === "ENOSPC" || code === "EDQUOT";
  return new LayerError(
    noSpace ? "LAYER_NO_SPACE" : "LAYER_WRITE_FAILED",
    `entry ${showName(path)}: the host answers ${code}`,
    {
      ...options,
      hint: hints[code] ?? "see the agent's log and the state of its data folder",
      retryable: noSpace,
    },
  );
}

const hints: Readonly<Record<string, string>> = {
  ENOSPC: "free space in the agent's data folder, or move it with STRATA_DATA",
  EDQUOT: "free space in the agent's data folder, or move it with STRATA_DATA",
  EPERM: "run as root: images set owners and attributes",
  EOPNOTSUPP:
    "the data folder must be on a file system with extended attributes, such as ext4 or xfs",
};

/** mknodat, lsetxattr, utimensat. */
const systemCalls: Readonly<Record<string, readonly number[]>> = {
  x64: [259, 189, 280],
  arm64: [33, 6, 88],
};

function encodeCall({ kind, path, fields }: LateCall): Buffer {
  const parts = [Buffer.from(path, "latin1"), ...fields].map((field) => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(field.length);
    return Buffer.concat([length, field]);
  });
  return Buffer.concat([Buffer.from(kind.slice(0, 1)), ...parts]);
}

/** Reads calls from standard input; at the first failure prints its index and errno, and ends with 1. */
const script = String.raw`
use strict;
my ($mknodat, $lsetxattr, $utimensat) = map { $_ + 0 } @ARGV;
my ($at_fdcwd, $no_follow, $index) = (-100, 0x100, 0);
binmode STDIN;
umask 0;
sub take { my ($n) = @_; my $b = ""; read(STDIN, $b, $n) == $n or die "cut off" if $n; return $b }
sub field { return take(unpack("N", take(4))) }
while (read(STDIN, my $kind, 1)) {
  my $path = field();
  my $done;
  if ($kind eq "w") {
    $done = syscall($mknodat, $at_fdcwd, $path, 0020000, 0) == 0;
  } elsif ($kind eq "f") {
    my ($mode, $uid, $gid) = (field() + 0, field() + 0, field() + 0);
    $done = syscall($mknodat, $at_fdcwd, $path, 0010000 | $mode, 0) == 0
      && chown($uid, $gid, $path) && chmod($mode, $path);
  } elsif ($kind eq "x") {
    my ($name, $value) = (field(), field());
    $done = syscall($lsetxattr, $path, $name, $value, length($value), 0) == 0;
  } elsif ($kind eq "t") {
    my $times = field();
    $done = syscall($utimensat, $at_fdcwd, $path, $times, $no_follow) == 0;
  }
  if (!$done) { print "$index ", $! + 0, "\n"; exit 1 }
  $index += 1;
}
`;
