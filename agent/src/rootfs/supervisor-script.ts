/** The program that makes a container's root file system and starts the container. It is perl, because perl-base is on
 * every Debian and Ubuntu and can make the system calls that no runtime of ours has; it is no longer there when the
 * container runs: it turns into the shell script below, which costs a tenth of the memory.
 *
 * Arguments: the processor as Node names it, and the run's folder. In it: `launch` (lines "KEY VALUE"), `argv` (the command, each word ended by NUL).
 * Standard input: what `launch` says is there, see contents-script.ts, and at last `end`, which lets the container start.
 * It writes there: `pid` (itself), `user` (uid, gid, home), `error` (CODE, then why) and `lxc.log`.
 *
 * `contents` is `contentsScript`, or nothing where `launch` has no line of it. */
export function supervisorScript(contents: string): string {
  return declarations + contents + program;
}

const declarations = String.raw`
use strict;

# No module is loaded: POSIX alone would cost more time than all the mounts.
my %numbers = (
  x64 => { mount => 165, unshare => 272, close => 3, dup3 => 292 },
  arm64 => { mount => 40, unshare => 97, close => 57, dup3 => 24 },
);
my ($CLONE_NEWNS, $CLONE_NEWUSER) = (0x20000, 0x10000000);
my ($MS_NOSUID, $MS_NODEV, $MS_REC, $MS_SLAVE) = (2, 4, 0x4000, 0x80000);
my ($OPEN_TREE, $MOVE_MOUNT, $MOUNT_SETATTR) = (428, 429, 442);
my ($AT_FDCWD, $AT_EMPTY_PATH, $OPEN_TREE_CLONE, $MOVE_MOUNT_F_EMPTY_PATH) = (-100, 0x1000, 1, 4);
my $ID_MAPPED_READ_ONLY_NODEV = 0x100000 | 1 | 4;
my ($O_WRONLY, $O_CREAT, $O_EXCL, $O_NONBLOCK) = (1, 0100, 0200, 04000);
my $PASSWD_BYTES_MAX = 1024 * 1024;

my ($architecture, $folder) = @ARGV;
my $code = "ROOTFS_FAILED";

# The agent reads why from the file "error"; a kill leaves none. The tenant side no longer sees that file and tells
# its parent.
my $tell;
sub fail {
  my ($why) = @_;
  chomp $why;
  if (defined $tell) { syswrite($tell, "! $code $why"); }
  elsif (open(my $file, ">", "$folder/error")) { print $file "$code $why\n"; close $file; }
  exit(1);
}
$SIG{__DIE__} = sub { fail($_[0]) };

my $number = $numbers{$architecture} or die "this processor is not supported\n";

sub call {
  my ($what, @arguments) = @_;
  my $result = syscall($arguments[0], @arguments[1 .. $#arguments]);
  die "$what: $!\n" if $result == -1;
  return $result;
}

# The kernel reads strings through pointers, so each has to be a variable of its own.
sub mount_at {
  my ($source, $target, $type, $flags, $options) = @_;
  call("mount $type", $number->{mount}, "$source", "$target", "$type", $flags, $options);
}

sub write_file {
  my ($path, $text) = @_;
  open(my $file, ">", $path) or die "$path: $!\n";
  defined syswrite($file, $text) or die "$path: $!\n";
  close $file;
}

sub read_file {
  my ($path) = @_;
  open(my $file, "<", $path) or die "$path: $!\n";
  local $/;
  return scalar <$file>;
}

my (%one, %many, @mounts);
my $config = "$folder/config";
`;

const program = String.raw`
for (split /\n/, read_file("$folder/launch")) {
  my ($key, $value) = split / /, $_, 2;
  $one{$key} = $value;
  push @{ $many{$key} }, $value;
}

# An agent that takes the run back moves its folder away first, so a late supervisor ends here.
sysopen(my $pid_file, "$folder/pid", $O_WRONLY | $O_CREAT | $O_EXCL, 0600)
  or die "$folder/pid: $!\n";
syswrite($pid_file, "$$\n");
close $pid_file;
# Changing groups waits for every processor, so another process does it meanwhile.
my $own = $$;
my $mover = fork() // die "fork: $!\n";
if ($mover == 0) {
  # Who has failed meanwhile has said why. Its child is the machine's first process's then, which is not to be moved.
  $SIG{__DIE__} = sub { fail($_[0]) if getppid == $own; exit 0 };
  write_file($_, "$own\n") for @{ $many{join} };
  exit 0;
}
my $arguments = read_file("$folder/argv");
my %contents = map { my ($target, $source) = split / /; ($target => read_file($source)) } @{ $many{file} };
@mounts = parse_mounts(@{ $many{mount} }) if $many{mount};
$code = "ROOTFS_FAILED";

call("unshare", $number->{unshare}, $CLONE_NEWNS);
mount_at("none", "/", "none", $MS_REC | $MS_SLAVE, 0);

pipe(my $ready_out, my $ready_in) or die "pipe: $!\n";
pipe(my $go_out, my $go_in) or die "pipe: $!\n";
pipe(my $user_out, my $user_in) or die "pipe: $!\n";
my $tenant = fork() // die "fork: $!\n";
if ($tenant == 0) {
  close $_ for $ready_out, $go_in, $user_out;
  $tell = $user_in;
  prepare_as_tenant();
  exit(0);
}
close $_ for $ready_in, $go_out, $user_in;
sysread($ready_out, my $ready, 1) or die "no user namespace; is user.max_user_namespaces 0?\n";
write_file("/proc/$tenant/$_", "0 $one{'id-base'} $one{'id-size'}\n") for qw(uid_map gid_map);
open(my $namespace, "<", "/proc/$tenant/ns/user") or die "user namespace: $!\n";
mount_layers(fileno $namespace);
take_input() if $one{input};
syswrite($go_in, "x");
for my $index (0 .. $#mounts) {
  # A tenant side that is gone has said why.
  sysread($ready_out, my $made, 1) or last;
  attach_mount($mounts[$index], $index, fileno $namespace);
  syswrite($go_in, "x");
}
close $namespace;
$code = "ROOTFS_FAILED";
my $answer = do { local $/; <$user_out> } // "";
waitpid($tenant, 0);
if ($answer =~ m{^! (\w+) (.*)}s) { $code = $1; die "$2\n"; }
my ($uid, $gid, $home) = $answer =~ /^(\d+) (\d+) (\S+)$/ or die "the image's files could not be read\n";
write_file("$folder/user", "$uid $gid $home\n");
protect_root() if $one{'read-only'};
become_shell();

# Layers are owned by real ids and shared by all containers; a clone of each mount shows them with this container's
# ids. The overlay's option string stays short because all names are relative to this small file system.
sub mount_layers {
  my ($user_namespace) = @_;
  mount_at("strata", $one{mounts}, "tmpfs", $MS_NOSUID | $MS_NODEV, "mode=0755,size=1m");
  chdir $one{mounts} or die "$one{mounts}: $!\n";
  my @lower;
  my $attributes = pack "Q4", $ID_MAPPED_READ_ONLY_NODEV, 0, 0, $user_namespace;
  for my $layer (@{ $many{layer} }) {
    my $name = scalar @lower;
    mkdir $name or die "mkdir: $!\n";
    my $tree = call("open $layer", $OPEN_TREE, $AT_FDCWD, "$layer", $OPEN_TREE_CLONE);
    call("map the ids of $layer", $MOUNT_SETATTR, $tree, "", $AT_EMPTY_PATH, $attributes, length $attributes);
    call("mount $layer", $MOVE_MOUNT, $tree, "", $AT_FDCWD, "$name", $MOVE_MOUNT_F_EMPTY_PATH);
    call("close", $number->{close}, $tree + 0);
    unshift @lower, $name;
  }
  symlink $one{upper}, "u" or die "symlink: $!\n";
  symlink $one{work}, "w" or die "symlink: $!\n";
  mkdir "rootfs" or die "mkdir: $!\n";
  # LXC wants its folder to be open to the container's root, which the agent's folders on the host need not be.
  mkdir $one{'lxc-path'} or die "mkdir: $!\n";
  my $options = "lowerdir=" . join(":", @lower) . ",upperdir=u,workdir=w,volatile";
  mount_at("overlay", "rootfs", "overlay", $MS_NODEV, $options);
}

# LXC's own option for it would take the volumes along.
sub protect_root {
  my $attributes = pack "Q4", 1, 0, 0, 0;
  call("protect the image's files", $MOUNT_SETATTR, $AT_FDCWD, "rootfs", 0, $attributes, length $attributes);
}

# From here to the end of the user lookup we are root of the container's own ids and see its files alone: whatever the
# image made of /etc or of the working directory, nothing leads out of it.
sub prepare_as_tenant {
  call("unshare", $number->{unshare}, $CLONE_NEWUSER);
  syswrite($ready_in, "x");
  sysread($go_out, my $go, 1) or exit(1);
  $) = "0 0"; $( = 0; $> = 0; $< = 0;
  # The tmpfs is the parent's current folder and ours is not, so the name is absolute.
  chroot "$one{mounts}/rootfs" or die "chroot: $!\n";
  chdir "/" or die "chdir: $!\n";
  umask 022;
  mkdir $_ for qw(/dev /etc /proc /sys);
  replace_file($_, $contents{$_}) for sort keys %contents;
  my ($uid, $gid, $home) = find_user($one{user} // "");
  for my $mount (@mounts) {
    make_mount_point($mount, $uid, $gid);
    syswrite($ready_in, "x");
    sysread($go_out, my $mounted, 1) or exit(1);
  }
  make_path($one{'working-dir'});
  find_program((split /\0/, $arguments, 2)[0]);
  syswrite($user_in, "$uid $gid $home");
}

# An image where this cannot be done (/etc is a file) goes without: it has no use for them.
sub replace_file {
  my ($path, $text) = @_;
  unlink $path;
  sysopen(my $file, $path, $O_WRONLY | $O_CREAT | $O_EXCL, 0644) or return;
  syswrite($file, $text);
}

sub make_path {
  my ($path) = @_;
  $code = "CONTAINER_CONFIG_INVALID";
  my $made = "";
  for my $part (grep { $_ ne "" } split m{/}, $path) {
    $made .= "/$part";
    mkdir $made, 0755;
  }
  -d $path or die "the working directory $path is not a folder in the image\n";
}

# LXC does not say that there is no such program; it looks like a crash. A link may lead to where only the running
# container has something, so it is taken for good.
sub find_program {
  my ($program) = @_;
  $code = "COMMAND_MISSING";
  chdir $one{'working-dir'};
  my @places = $program =~ m{/} ? ($program) : map { "$_/$program" } split /:/, $one{path};
  return if grep { m{^/proc/} || -l $_ || (-f $_ && -x _) } @places;
  die "the image has no program $program\n";
}

# "name", "uid", "name:group", "uid:gid" and so on, as image-spec v1.1 has it. Only the name must be in the image.
sub find_user {
  my ($text) = @_;
  $code = "USER_UNKNOWN";
  my ($user, $group) = split /:/, $text, 2;
  $user = "0" if !defined $user || $user eq "";
  my ($entry) = grep { $user =~ /^\d+$/ ? $_->[2] eq $user : $_->[0] eq $user } records("/etc/passwd", 7);
  die "the image's /etc/passwd has no user $user\n" if !defined $entry && $user !~ /^\d+$/;
  my $uid = defined $entry ? $entry->[2] : $user;
  my $gid = defined $entry ? $entry->[3] : 0;
  if (defined $group && $group ne "") {
    my ($found) = grep { $_->[0] eq $group } records("/etc/group", 4);
    die "the image's /etc/group has no group $group\n" if !defined $found && $group !~ /^\d+$/;
    $gid = defined $found ? $found->[2] : $group;
  }
  for ($uid, $gid) {
    die "$_ is not an id below $one{'id-size'}\n" if !/^\d{1,9}$/ || $_ >= $one{'id-size'};
  }
  my $home = defined $entry ? $entry->[5] : "/";
  return ($uid + 0, $gid + 0, $home =~ m{^/[\x21-\x7e]{0,4095}$} ? $home : "/");
}

# Never waits for a fifo, never reads more than the limit.
sub records {
  my ($path, $fields) = @_;
  sysopen(my $file, $path, $O_NONBLOCK) or return ();
  return () if !-f $file;
  my $text = "";
  while (length $text < $PASSWD_BYTES_MAX) { sysread($file, $text, 65536, length $text) or last; }
  return grep { @$_ == $fields } map { [split /:/, $_, -1] } split /\n/, $text;
}

# The container writes into a pipe: it gets no handle on a file of the host, and may open /dev/stdout again because the
# pipe belongs to its user. The shell copies the pipe to the log and, when the last writer is gone, notes how it ended.
sub become_shell {
  $code = "START_FAILED";
  my ($host_uid, $host_gid) = ($one{'id-base'} + $uid, $one{'id-base'} + $gid);
  pipe(my $log_out, my $log_in) or die "pipe: $!\n";
  chown $host_uid, $host_gid, $log_out, $log_in;
  give_files(\@mounts, $host_uid, $host_gid) if @mounts;
  my @command = split /\0/, $arguments, -1;
  pop @command;
  my @home = $one{'set-home'} ? ("-s", "lxc.environment=HOME=$home") : ();
  my @names = ("-n", $one{name}, "-P", $one{'lxc-path'}, "-f", $config);
  # Of an init LXC tells the end in its log alone. That lies in the small file system, so that it cannot grow for ever.
  my @lxc = $one{system}
    ? ("/usr/bin/lxc-start", "-F", @names, "-o", "$one{mounts}/lxc.log", "-l", "INFO", @home, "--", @command)
    : ("/usr/bin/lxc-execute", @names, "-o", "$folder/lxc.log", "-l", "ERROR",
       "-s", "lxc.init.uid=$uid", "-s", "lxc.init.gid=$gid", @home, "--", @command);
  # The shell knows handles of one digit only; these two may be in use until all others are closed.
  move_handle(fileno $log_in, 100);
  move_handle(fileno $log_out, 101);
  opendir(my $handles, "/proc/self/fd") or die "/proc/self/fd: $!\n";
  my @open = grep { /^\d+$/ && $_ > 2 && $_ != 100 && $_ != 101 && $_ != fileno $handles } readdir $handles;
  closedir $handles;
  syscall($number->{close}, $_ + 0) for @open;
  move_handle(100, 8);
  move_handle(101, 9);
  waitpid($mover, 0);
  die "the supervisor cannot leave the agent's control group\n" if $? != 0;
  wait_until_let() if !$one{input};
  open(STDIN, "<", "/dev/null") or die "/dev/null: $!\n";
  # An agent that gave this run up has taken its folder away, and may have made the next one there.
  die "given up\n" if read_file("$folder/pid") ne "$$\n";
  exec "/bin/sh", "-c", $one{shell}, "strata", $one{log}, $one{exit}, @lxc;
  die "/bin/sh: $!\n";
}

# Before the network has its rules no container may be in it. An agent that is killed meanwhile lets none start.
sub wait_until_let {
  my $input = do { local $/; <STDIN> } // "";
  $input eq "end\n" or die "given up\n";
}

sub move_handle {
  my ($from, $to) = @_;
  call("handle $from", $number->{dup3}, $from, $to, 0);
  syscall($number->{close}, $from);
}
`;

/** One line of shell. $1: log file. $2: file for the exit code. The rest: lxc-execute and its arguments, which finds no
 * newuidmap in its PATH and so writes the id map itself, 10 ms faster. cat fails when the disk is full: then the
 * container waits until there is room again. */
const runShell = [
  `log=$1 exit=$2; shift 2`,
  `PATH=/nonexistent "$@" >&8 2>&8 8>&- 9<&- & child=$!`,
  `exec 8>&-`,
  `until cat <&9 >>"$log"; do sleep 1; done`,
  `wait $child; code=$?`,
];
const noteCode = `until echo $code >"$exit"; do sleep 1; done`;

export const supervisorShell = [...runShell, noteCode].join("; ");

/** The same for lxc-start, in the folder of its log. It always says 0 for a container that ran: what its log says of the
 * last end counts. Halt and reboot end an init by these two signals (reboot(2), "Behavior inside PID namespaces"). */
export const systemShell = [
  ...runShell,
  `end=$(sed -n 's/^.*Child <[0-9]*> ended on //p' lxc.log | tail -n 1)`,
  String.raw`number=${"$"}{end##*\(}; number=${"$"}{number%\)}`,
  `case "$code $end" in "0 signal Interrupt"*|"0 signal Hangup"*) ;; "0 signal "*) code=$((128 + number)) ;; "0 error "*) code=$number ;; esac`,
  `[ $code = 0 ] || grep ' ERROR ' lxc.log >"\${exit%/*}/lxc.log"`,
  noteCode,
].join("; ");
