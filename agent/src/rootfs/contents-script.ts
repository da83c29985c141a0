/** The part of the supervisor that gives a container its volumes and files; see supervisor-script.ts, whose variables it
 * uses.
 *
 * They are mounted before LXC starts, in the private mount namespace, and LXC takes them along with the root file system:
 * no path of a tenant ever stands in an LXC configuration. For each mount there are two steps, one in each process.
 * The tenant side, root of the container's own ids and shut into its files, makes the mount point: whatever the image, or
 * another container that has the same volume, made of the path, nothing is made outside. Then the supervisor opens the
 * path once, with the container's root as the root of all links (openat2, RESOLVE_IN_ROOT), and mounts on what it
 * holds open: who swaps a folder for a link meanwhile gains nothing. */
export const contentsScript = String.raw`
my ($OPENAT2, $O_PATH, $RESOLVE_IN_ROOT, $RESOLVE_NO_MAGICLINKS) = (437, 010000000, 0x10, 2);
my $MOVE_MOUNT_BOTH_EMPTY_PATH = 4 | 0x40;
my ($ATTR_RDONLY, $ATTR_NOSUID, $ATTR_NODEV, $ATTR_IDMAP) = (1, 2, 4, 0x100000);

# Each mount as agent/src/container/contents.ts writes it.
sub parse_mounts {
  my @found = map {
    my ($kind, $access, $mode, $size, $target, $source) = split / /;
    { kind => $kind, access => $access, mode => oct $mode, size => $size,
      target => pack("H*", $target), source => pack("H*", $source) }
  } @_;
  for (grep { $_->{kind} eq "host" } @found) {
    $code = "VOLUME_FAILED";
    -e $_->{source} or die "this node has no $_->{source}\n";
    $_->{is_file} = !-d _;
  }
  $_->{is_file} = 1 for grep { $_->{kind} eq "file" } @found;
  return @found;
}

# What must not be on a disk comes by standard input: lines for LXC's configuration, then the files. An agent that is
# killed meanwhile leaves half of it.
sub read_input {
  my $input = do { local $/; <STDIN> } // "";
  my @items;
  while ($input =~ /\G(\d+)\n/gc) {
    my $at = pos $input;
    die "given up\n" if $at + $1 > length $input;
    push @items, substr($input, $at, $1);
    pos($input) = $at + $1;
  }
  $input =~ /\Gend\n\z/ or die "given up\n";
  return @items;
}

# The configuration of a container with secrets in its environment is nowhere but in this memory.
sub take_input {
  my ($env, @files) = read_input();
  make_files(\@mounts, @files);
  return if $env eq "";
  my $base = read_file($config);
  $config = "$one{mounts}/config";
  sysopen(my $file, $config, $O_WRONLY | $O_CREAT | $O_EXCL, 0600) or die "$config: $!\n";
  defined syswrite($file, $base . $env) or die "$config: $!\n";
}

# The tenant side. What the image does not have belongs to the application's user; a folder in memory, to everybody.
sub make_mount_point {
  my ($mount, $uid, $gid) = @_;
  $code = "VOLUME_FAILED";
  my $target = $mount->{target};
  my $made = "";
  my @parts = grep { $_ ne "" } split m{/}, $target;
  my $last = pop @parts;
  for (@parts) { $made .= "/$_"; mkdir $made, 0755; }
  if ($mount->{is_file}) {
    sysopen(my $file, $target, $O_WRONLY | $O_CREAT | $O_EXCL, 0600) if !-e $target;
    die "$target is not a file in the image, and none can be made\n" if !-e $target || -d _;
  } elsif (mkdir $target, 0755) {
    $mount->{kind} eq "tmpfs" ? chmod(01777, $target) : chown($uid, $gid, $target);
  } elsif (!-d $target) {
    die "$target is not a folder in the image, and none can be made\n";
  }
}

sub open_in_root {
  my ($path) = @_;
  my $root_how = pack "Q3", $O_PATH, 0, 0;
  my $root = call("open the root", $OPENAT2, $AT_FDCWD, "rootfs", $root_how, length $root_how);
  my $how = pack "Q3", $O_PATH, 0, $RESOLVE_IN_ROOT | $RESOLVE_NO_MAGICLINKS;
  my $found = call("open $path", $OPENAT2, $root + 0, "$path", $how, length $how);
  my ($device, $inode) = stat "/proc/self/fd/$found";
  my ($root_device, $root_inode) = stat "rootfs";
  die "$path is the root of the container\n" if $device == $root_device && $inode == $root_inode;
  call("close", $number->{close}, $root + 0);
  return $found;
}

# Runs in the supervisor. $owner_map: the user namespace whose ids the files on the disk are shown with.
sub attach_mount {
  my ($mount, $index, $owner_map) = @_;
  $code = "VOLUME_FAILED";
  my $point = open_in_root($mount->{target});
  if ($mount->{kind} eq "tmpfs") {
    my ($mode, $uid, $gid) = (stat "/proc/self/fd/$point")[2, 4, 5];
    my $options = sprintf "size=%d,mode=%o,uid=%d,gid=%d", $mount->{size}, $mode & 07777, $uid, $gid;
    mount_at("tmpfs", "/proc/self/fd/$point", "tmpfs", $MS_NOSUID | $MS_NODEV, $options);
  } else {
    my $source = $mount->{kind} eq "file" ? "files/$index" : $mount->{source};
    make_volume($source, $point) if $mount->{kind} eq "named";
    my $flags = $ATTR_NOSUID | $ATTR_NODEV;
    $flags |= $ATTR_RDONLY if $mount->{access} eq "ro";
    # Files in memory have the container's ids already.
    $flags |= $ATTR_IDMAP if $mount->{kind} ne "file";
    my $attributes = pack "Q4", $flags, 0, 0, $mount->{kind} eq "file" ? 0 : $owner_map;
    my $tree = call("open $source", $OPEN_TREE, $AT_FDCWD, "$source", $OPEN_TREE_CLONE);
    call("map the ids of $source", $MOUNT_SETATTR, $tree, "", $AT_EMPTY_PATH, $attributes, length $attributes);
    call("mount on $mount->{target}", $MOVE_MOUNT, $tree, "", $point + 0, "", $MOVE_MOUNT_BOTH_EMPTY_PATH);
    call("close", $number->{close}, $tree + 0);
  }
  call("close", $number->{close}, $point + 0);
}

# A new volume gets owner and mode of the folder that it covers, as the container sees them. It has no mode until it is
# complete, so that a kill in between is made good by the next start.
sub make_volume {
  my ($path, $point) = @_;
  mkdir $path, 0;
  my $mode = (stat $path)[2] // die "$path: $!\n";
  return if $mode & 07777;
  my ($wanted, $uid, $gid) = (stat "/proc/self/fd/$point")[2, 4, 5];
  my @ids = map { $_ >= $one{'id-base'} && $_ < $one{'id-base'} + $one{'id-size'} ? $_ - $one{'id-base'} : 0 } $uid, $gid;
  chown @ids, $path or die "$path: $!\n";
  chmod(($wanted & 07777) || 0755, $path) or die "$path: $!\n";
}

# In memory, seen by nobody but the supervisor until each file is mounted on its own.
sub make_files {
  my ($mounts, @contents) = @_;
  my @wanted = grep { $mounts->[$_]{kind} eq "file" } 0 .. $#$mounts;
  return if !@wanted;
  mkdir "files" or die "mkdir: $!\n";
  mount_at("strata", "files", "tmpfs", $MS_NOSUID | $MS_NODEV, "mode=0700,size=32m");
  for my $index (@wanted) {
    write_file("files/$index", shift @contents);
    chmod $mounts->[$index]{mode}, "files/$index" or die "files/$index: $!\n";
  }
}

# Now that the image has said who the user is.
sub give_files {
  my ($mounts, $host_uid, $host_gid) = @_;
  chown $host_uid, $host_gid, map { "files/$_" } grep { $mounts->[$_]{kind} eq "file" } 0 .. $#$mounts;
}
`;
