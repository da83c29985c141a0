import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";

import type { Assignment } from "@strata/protocol/agent/messages";

import { aNode, type NodeOptions, type TestNode } from "./a-node.ts";
import { anAssignment } from "./an-assignment.ts";
import { anExec, type ExecResult } from "./exec-connection.ts";

/** A container whose root tries what it should not, and another one next to it. */
export type HostileContainer = AsyncDisposable & {
  readonly node: TestNode;
  /** Runs perl in it, after `attempts`; what it wrote. */
  readonly perl: (program: string) => Promise<string>;
  /** The same in the container next to it. */
  readonly perlNextDoor: (program: string) => Promise<string>;
  readonly shell: (line: string) => Promise<string>;
};

export type HostileOptions = Omit<NodeOptions, "change"> & {
  readonly change?: (layer: string) => void;
  /** Of the hostile one; the one next to it sleeps. */
  readonly spec?: Partial<Assignment["spec"]>;
};

const libraries = `/lib/${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`;
const loader =
  process.arch === "arm64" ? "/lib/ld-linux-aarch64.so.1" : "/lib64/ld-linux-x86-64.so.2";

/** `attempt NAME, sub { … }` writes `NAME: done`, or why the work could not be done when it gave false or died.
 * `number X64, ARM64` is the number of a system call on this processor. */
const attempts = String.raw`
use strict;
$| = 1;
sub attempt {
  my ($name, $work) = @_;
  $! = 0;
  my $done = eval { $work->() };
  print "$name: ", ($done ? "done" : $@ || $! || "no"), "\n";
}
sub number { return $_[${process.arch === "arm64" ? 1 : 0}]; }
# Bad arguments are no refusal: the call was let through.
sub call { my $result = syscall($_[0], @_[1 .. $#_]); return $result != -1 || !($!{EPERM} || $!{ENOSYS} || $!{EACCES}); }
# Without a byte written, and without making the file.
sub can_write { return sysopen(my $file, $_[0], 1); }
`;

export async function aHostileContainer(options: HostileOptions = {}): Promise<HostileContainer> {
  const { spec, change, ...nodeOptions } = options;
  await using undo = new AsyncDisposableStack();
  const node = undo.use(
    await aNode({
      ...nodeOptions,
      change: (layer) => {
        addPerl(layer);
        change?.(layer);
      },
    }),
  );
  const asleep = { limits: limits(), stopGraceMs: 0 };
  const sleeper = (processId: string, more: HostileOptions["spec"] = {}): Assignment =>
    anAssignment("exec sleep 3600", { processId, spec: { ...asleep, ...more } });
  node.assign(sleeper("web-1", spec), sleeper("other-1"));
  for (const processId of ["web-1", "other-1"]) {
    await node.until(processId, ({ state, problem }) => {
      if (problem !== undefined) throw new Error(`${problem.code}: ${problem.message}`);
      return state === "running";
    });
  }
  const whole = undo.move();
  const perl = async (processId: string, program: string): Promise<string> =>
    requireOutput(
      await anExec(node, { processId, command: ["perl", "-MErrno", "-e", attempts + program] })
        .result,
    );
  return {
    node,
    perl: (program) => perl("web-1", program),
    perlNextDoor: (program) => perl("other-1", program),
    shell: async (line) =>
      requireOutput(await anExec(node, { command: ["sh", "-c", line] }).result),
    [Symbol.asyncDispose]: () => whole.disposeAsync(),
  };
}

function limits(): Assignment["spec"]["limits"] {
  return { memoryMaxBytes: 256 * 1024 ** 2, cpuMaxMillis: 2000, pidsMax: 64 };
}

function requireOutput({ stdout, stderr }: ExecResult): string {
  if (stdout === "") throw new Error(`nothing was tried: ${stderr}`);
  return stdout;
}

/** The same program outside of any container: what it does there shows that the attempt is one. */
export function perlOnHost(program: string): string {
  return execFileSync("/usr/bin/perl", ["-MErrno", "-e", attempts + program], { encoding: "utf8" });
}

/** Adds the distribution's perl-base: it can make any system call, so it can try anything. */
function addPerl(layer: string): void {
  const add = (path: string): void => {
    mkdirSync(dirname(join(layer, path)), { recursive: true });
    cpSync(path, join(layer, path), { recursive: true, dereference: true });
  };
  for (const name of ["libc.so.6", "libm.so.6", "libcrypt.so.1"]) add(join(libraries, name));
  for (const path of ["/usr/bin/perl", loader, `/usr${libraries}/perl-base`]) add(path);
  symlinkSync("/usr/bin/perl", join(layer, "bin/perl"));
}

/** Names of what was attempted, by whether it was done. */
export function sortAttempts(output: string): {
  readonly done: readonly string[];
  readonly refused: readonly string[];
} {
  const lines = output.trim().split("\n");
  const names = (isDone: boolean): readonly string[] =>
    lines
      .filter((line) => line.endsWith(": done") === isDone)
      .map((line) => (isDone ? line.slice(0, -": done".length) : line));
  return { done: names(true), refused: names(false) };
}
