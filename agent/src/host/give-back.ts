import { runTool } from "./run-tool.ts";

/** What a start needs of the agent's program is 20 MB more than what goes on being used, and the kernel takes mapped
 * code back only when memory is short. This asks it to, for the code of one process: pages that are used again are read
 * again. The calls pidfd_open and process_madvise (Linux 5.10) have the same numbers on all processors. */
const script = String.raw`
use strict;
my ($PIDFD_OPEN, $PROCESS_MADVISE, $MADV_PAGEOUT) = (434, 440, 21);
my $pid = $ARGV[0] + 0;
my $process = syscall($PIDFD_OPEN, $pid, 0);
die "pidfd_open: $!\n" if $process == -1;
my $program = readlink "/proc/$pid/exe" or die "exe: $!\n";
open(my $maps, "<", "/proc/$pid/maps") or die "maps: $!\n";
my ($areas, $count) = ("", 0);
while (my $line = <$maps>) {
  my ($from, $to, $access, $file) = $line =~ m{^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ +(/.*)$} or next;
  next if $file ne $program || $access =~ /w/ || $count == 64;
  $areas .= pack "Q2", hex $from, hex($to) - hex($from);
  $count += 1;
}
syscall($PROCESS_MADVISE, $process, $areas, $count, $MADV_PAGEOUT, 0) != -1 or die "process_madvise: $!\n";
`;

/** Takes memory from a process that it does not need right now. Costs some 10 ms.
 * @throws AgentError TOOL_FAILED where the kernel does not know how. */
export async function giveBackCode(pid: number): Promise<void> {
  await runTool("perl", ["-e", script, "--", String(pid)]);
}

export type QuietWork = {
  /** Something happened: the work waits. */
  readonly stir: () => void;
};

export type QuietWorkOptions = {
  readonly work: () => Promise<void>;
  /** Nothing may have happened for so long. */
  readonly quietMs: number;
  /** Between two runs, and before the first one. */
  readonly restMs: number;
};

/** Does the work once after something has happened and is over. Keeps no program alive. */
export function createQuietWork({ work, quietMs, restMs }: QuietWorkOptions): QuietWork {
  let isResting = true;
  let isWanted = false;
  let quiet: NodeJS.Timeout | undefined;
  const later = (ms: number, then: () => void): NodeJS.Timeout => setTimeout(then, ms).unref();
  const waitForQuiet = (): void => {
    clearTimeout(quiet);
    quiet = later(quietMs, () => {
      rest();
      void work();
    });
  };
  const rest = (): void => {
    isResting = true;
    isWanted = false;
    later(restMs, () => {
      isResting = false;
      if (isWanted) waitForQuiet();
    });
  };
  rest();
  return {
    stir: () => {
      isWanted = true;
      if (!isResting) waitForQuiet();
    },
  };
}
