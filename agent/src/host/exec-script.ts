/** Stands between the agent and lxc-attach: it closes every handle that lxc-attach could hand into the container, and
 * gives the command a terminal where one is wanted. It is perl for the reasons given in rootfs/supervisor-script.ts.
 *
 * Arguments: "pipe" or "tty", then lxc-attach and its arguments. With "pipe" it becomes lxc-attach. With "tty" its
 * standard input carries frames as in protocol/agent/stream.ts, its standard output what the terminal shows. */
export const execScript = String.raw`
use strict;
use warnings;
use POSIX ();

use constant {
  TIOCSCTTY => 0x540e, TIOCSWINSZ => 0x5414, TIOCGPTN => 0x80045430, TIOCSPTLCK => 0x40045431,
  STDIN_FRAME => 0, RESIZE_FRAME => 3, END_FRAME => 7,
  CHUNK => 65536, PENDING_MAX => 1024 * 1024, LOOK_SECONDS => 0.005, LOOKS_MAX => 400,
};

my ($mode, @command) = @ARGV;

sub become_command {
  opendir(my $handles, "/proc/self/fd") or die "/proc/self/fd: $!\n";
  for my $handle (grep { /^\d+$/ && $_ > 2 } readdir $handles) { POSIX::close($handle); }
  exec @command;
  die "$command[0]: $!\n";
}

become_command() if $mode eq "pipe";

sysopen(my $terminal, "/dev/ptmx", POSIX::O_RDWR() | POSIX::O_NOCTTY()) or die "/dev/ptmx: $!\n";
my $unlocked = pack "i", 0;
ioctl($terminal, TIOCSPTLCK, $unlocked) or die "unlock: $!\n";
my $number = pack "I", 0;
ioctl($terminal, TIOCGPTN, $number) or die "number: $!\n";
my $name = "/dev/pts/" . unpack "I", $number;
resize(80, 24);

my $child = fork() // die "fork: $!\n";
if ($child == 0) {
  POSIX::setsid();
  sysopen(my $own, $name, POSIX::O_RDWR()) or die "$name: $!\n";
  ioctl($own, TIOCSCTTY, 0);
  POSIX::dup2(fileno $own, $_) for 0 .. 2;
  become_command();
}

fcntl($terminal, POSIX::F_SETFL(), POSIX::O_RDWR() | POSIX::O_NONBLOCK());
my ($received, $pending, $is_open, $looks) = ("", "", 1, 0);
for (;;) {
  # Input that the command does not read yet holds up further input, never the output.
  my ($readable, $writable) = ("", "");
  vec($readable, 0, 1) = 1 if $is_open && length $pending < PENDING_MAX;
  vec($readable, fileno $terminal, 1) = 1;
  my $is_ready = is_ready();
  vec($writable, fileno $terminal, 1) = 1 if $is_ready && length $pending;
  next if select($readable, $writable, undef, $is_ready ? undef : LOOK_SECONDS) < 0;
  if (vec($readable, fileno $terminal, 1)) {
    my $count = sysread($terminal, my $shown, CHUNK);
    if ($count) { write_all($shown); }
    # EIO: the last program has let go of the terminal.
    elsif (defined $count || (!$!{EAGAIN} && !$!{EINTR})) { last; }
  }
  if (vec($writable, fileno $terminal, 1)) {
    my $count = syswrite($terminal, $pending);
    substr($pending, 0, $count, "") if $count;
  }
  if (vec($readable, 0, 1)) {
    my $count = sysread(STDIN, $received, CHUNK, length $received);
    if ($count) { take_frames(); }
    # Whoever asked is gone: the terminal hangs up.
    else { $is_open = 0; kill "HUP", $child; }
  }
}
close $terminal;
waitpid($child, 0);
exit($? & 127 ? 128 + ($? & 127) : $? >> 8);

# lxc-attach throws away what was typed before it made the terminal raw, so that is waited for, but not for ever.
sub is_ready {
  return 1 if $looks > LOOKS_MAX;
  my $state = POSIX::Termios->new;
  $state->getattr(fileno $terminal);
  $looks = $state->getlflag & POSIX::ICANON() ? $looks + 1 : LOOKS_MAX + 1;
  return $looks > LOOKS_MAX;
}

sub take_frames {
  while (length $received >= 5) {
    my ($type, $length) = unpack "CN", $received;
    last if length $received < 5 + $length;
    my $payload = substr($received, 5, $length);
    substr($received, 0, 5 + $length, "");
    if ($type == STDIN_FRAME) { $pending .= $payload; }
    elsif ($type == END_FRAME) { $pending .= "\x04"; }
    elsif ($type == RESIZE_FRAME && $payload =~ /"columns":(\d{1,4})\b.*"rows":(\d{1,4})\b/) { resize($1, $2); }
  }
}

sub resize {
  my ($columns, $rows) = @_;
  my $size = pack "S4", $rows, $columns, 0, 0;
  ioctl($terminal, TIOCSWINSZ, $size);
}

sub write_all {
  my ($bytes) = @_;
  while (length $bytes) {
    my $count = syswrite(STDOUT, $bytes);
    return if !defined $count && !$!{EINTR};
    substr($bytes, 0, $count, "") if $count;
  }
}
`;
