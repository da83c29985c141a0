/** What a helper of ours does before it touches the files of a container: it becomes root of the container's own ids, in
 * its namespaces, under its limits, with the few capabilities that files need. From then on no path, link or mount of a
 * hostile container leads anywhere but to that container's own files. The container does not see the helper: it stays
 * out of the container's pid namespace, and none of the image's programs is run. Perl for the reasons given in
 * rootfs/supervisor-script.ts.
 *
 * Arguments: the processor as Node names it, pid and start ticks of the container's first process, then the files of
 * control groups to join, then "--" and what the helper itself wants. */
export const enterScript = String.raw`
use strict;
use Fcntl qw(:DEFAULT :mode O_NOFOLLOW);

my %numbers = (
  x64 => { close => 3, setns => 308, capset => 126, prctl => 157, fchownat => 260, statfs => 137 },
  arm64 => { close => 57, setns => 268, capset => 91, prctl => 167, fchownat => 54, statfs => 43 },
);
my $PIDFD_OPEN = 434;
# Mounts, cgroups, host name, IPC, ids and network; not pids.
my $NAMESPACES = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x40000000;
my ($PR_SET_DUMPABLE, $PR_SET_NO_NEW_PRIVS) = (4, 38);
my $CAPABILITY_VERSION_3 = 0x20080522;
# chown, dac_override, dac_read_search, fowner, fsetid.
my $FILE_CAPABILITIES = 0x1f;
my ($AT_FDCWD, $AT_SYMLINK_NOFOLLOW) = (-100, 0x100);
my ($ENOENT, $EEXIST, $ENOTDIR, $ELOOP) = (2, 17, 20, 40);
my $CHUNK = 65536;

# The agent takes the last line: CODE, then why. Names of a container must not write lines of their own.
sub fail {
  my ($code, $why) = @_;
  $why =~ s/[^\x20-\x7e]/?/g;
  syswrite(STDERR, "\n$code $why\n");
  exit(1);
}
$SIG{__DIE__} = sub { my $why = $_[0]; chomp $why; fail("STREAM_FAILED", $why) };

my $architecture = shift @ARGV;
my $number = $numbers{$architecture} or die "this processor is not supported\n";

sub call {
  my ($what, @arguments) = @_;
  my $result = syscall($arguments[0], @arguments[1 .. $#arguments]);
  die "$what: $!\n" if $result == -1;
  return $result;
}

sub put {
  my ($path, $text) = @_;
  sysopen(my $file, $path, O_WRONLY) or die "$path: $!\n";
  defined syswrite($file, $text) or die "$path: $!\n";
  close $file;
}

sub enter {
  my ($pid, $ticks, @groups) = @_;
  opendir(my $handles, "/proc/self/fd") or die "/proc/self/fd: $!\n";
  my @open = grep { /^\d+$/ && $_ > 2 && $_ != fileno $handles } readdir $handles;
  closedir $handles;
  syscall($number->{close}, $_ + 0) for @open;
  put($_, "$$\n") for @groups;
  # Where memory is short this goes first, and not the application.
  put("/proc/self/oom_score_adj", "1000\n");
  my $process = call("pidfd", $PIDFD_OPEN, $pid + 0, 0);
  # The pid may be somebody else's by now; the handle cannot change any more.
  open(my $stat, "<", "/proc/$pid/stat") or fail("NOT_RUNNING", "the container is gone");
  my ($fields) = (<$stat> // "") =~ /.*\) (.*)/s;
  close $stat;
  fail("NOT_RUNNING", "the container is gone") if ((split / /, $fields // "")[19] // "") ne $ticks;
  call("namespaces", $number->{setns}, $process, $NAMESPACES);
  syscall($number->{close}, $process);
  # Nothing is ever loaded from the container's files.
  @INC = ();
  $) = "0 0"; $( = 0; $> = 0; $< = 0;
  die "not root of the container\n" if $< != 0 || $> != 0 || $( != 0;
  chdir "/" or die "chdir: $!\n";
  umask 0;
  my $header = pack "LL", $CAPABILITY_VERSION_3, 0;
  my $sets = pack "L6", $FILE_CAPABILITIES, $FILE_CAPABILITIES, 0, 0, 0, 0;
  call("capabilities", $number->{capset}, $header, $sets);
  call("no new privileges", $number->{prctl}, $PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  call("dumpable", $number->{prctl}, $PR_SET_DUMPABLE, 0, 0, 0, 0);
}

sub write_all {
  my ($handle, $bytes, $what) = @_;
  my $offset = 0;
  while ($offset < length $bytes) {
    my $count = syswrite($handle, $bytes, length($bytes) - $offset, $offset);
    fail("PATH_UNUSABLE", "$what: $!") if !defined $count;
    $offset += $count;
  }
}

my ($pid, $ticks, @groups) = @ARGV;
my ($end) = grep { $groups[$_] eq "--" } 0 .. $#groups;
my @wishes = splice @groups, $end;
shift @wishes;
enter($pid, $ticks, @groups);
`;
