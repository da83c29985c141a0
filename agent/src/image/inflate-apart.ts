/** Starts the unpacker with Intel's `igzip` in front of it, where this machine has it: it needs a third less time than
 * zlib, on a processor of its own. It reads what strangers made, so it runs as nobody, may gain nothing, and
 * may write to its output alone. Whether it did all of its work is for `readInflated` to tell. */
import { existsSync } from "node:fs";
import process from "node:process";

import type { SelfCommand } from "../self-exec.ts";

const IGZIP = "/usr/bin/igzip";

/** `prctl` and `prlimit64`. */
const systemCalls: Readonly<Record<string, readonly [number, number]>> = {
  x64: [157, 302],
  arm64: [167, 261],
};

export function canInflateApart(): boolean {
  return Object.hasOwn(systemCalls, process.arch) && existsSync(IGZIP);
}

/** A command that runs `worker` with its input inflated by igzip. */
export function inflateApart(worker: SelfCommand): SelfCommand {
  const numbers = (systemCalls[process.arch] ?? []).map(String);
  return { file: "perl", args: ["-e", script, ...numbers, IGZIP, worker.file, ...worker.args] };
}

/** The worker takes the place of perl, so that who stops the one has stopped the other: igzip dies with its parent.
 * 1031 is F_SETPIPE_SZ; the limits are RLIMIT_FSIZE, RLIMIT_DATA, RLIMIT_CORE and RLIMIT_NPROC; the options are
 * PR_SET_NO_NEW_PRIVS and PR_SET_PDEATHSIG. A change of the user would take the last one back, and would count against
 * the limit of processes: so it goes first. */
const script = String.raw`
use strict;
my ($prctl, $prlimit, $igzip, @worker) = @ARGV;
pipe(my $output, my $input) or die "pipe: $!";
fcntl($input, 1031, 1048576);
my $parent = $$;
my $child = fork() // die "fork: $!";
if ($child == 0) {
  open(STDOUT, ">&", $input) or die "dup: $!";
  chdir("/") or die "chdir: $!";
  $) = "65534 65534";
  $( = 65534;
  ($<, $>) = (65534, 65534);
  die "user" if $< != 65534 || $> != 65534 || $( + 0 != 65534 || $) ne "65534 65534";
  for ([1, 0], [2, 268435456], [4, 0], [6, 0]) {
    my ($resource, $most) = @$_;
    my $limit = pack("QQ", $most, $most);
    syscall($prlimit, 0, $resource, $limit, 0) == 0 or die "limit: $!";
  }
  syscall($prctl, 38, 1, 0, 0, 0) == 0 or die "no_new_privs: $!";
  syscall($prctl, 1, 9, 0, 0, 0) == 0 or die "parent: $!";
  exit(1) if getppid() != $parent;
  exec($igzip, "-dc") or die "exec: $!";
}
open(STDIN, "<&", $output) or die "dup: $!";
close($output);
close($input);
exec(@worker) or die "exec: $!";
`;
