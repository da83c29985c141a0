import { enterScript } from "./enter-script.ts";

/** Writes a file or folder of a container to its standard output as a tar archive (GNU, because its long names are
 * bytes). Its wish is the path. Nothing is ever waited for: fifos and devices are named, not read, and a file that
 * changes meanwhile is cut or filled up with zeros to the size that was announced. */
export const copyOutScript = String.raw`${enterScript}
my $DEPTH_MAX = 512;
# proc, sysfs, cgroup, cgroup2, devpts, mqueue: what the kernel makes up is no file of the container.
my %made_up = map { $_ => 1 } (0x9fa0, 0x62656572, 0x27e0eb, 0x63677270, 0x1cd1, 0x19800202);

my ($path) = @wishes;
my $is_followed = $path =~ m{/\.?\z};
my $base = $path =~ m{/\.\z} || $path !~ m{[^/]} ? "." : ($path =~ m{([^/]+)/*\z})[0];
my @top = $is_followed ? stat $path : lstat $path;
if (!@top) {
  my $code = $! == $ENOENT || $! == $ENOTDIR ? "PATH_NOT_FOUND" : "PATH_UNUSABLE";
  fail($code, "$path: $!");
}
fail("PATH_UNUSABLE", "$path is not a folder") if $is_followed && !S_ISDIR($top[2]);
add($path, $base, 0, \@top);
write_all(*STDOUT, "\0" x 1024, "output");
exit(0);

# What is gone by the time that it is looked at is left out.
sub add {
  my ($path, $name, $depth, $stat) = @_;
  my $mode = $stat->[2];
  if (S_ISDIR($mode)) { add_folder($path, $name, $depth, $stat); }
  elsif (S_ISREG($mode)) { add_file($path, $name); }
  elsif (S_ISLNK($mode)) {
    my $target = readlink $path;
    header($name, "2", $target, 0, $stat) if defined $target;
  }
  elsif (S_ISFIFO($mode)) { header($name, "6", "", 0, $stat); }
  elsif (S_ISCHR($mode)) { header($name, "3", "", 0, $stat); }
  elsif (S_ISBLK($mode)) { header($name, "4", "", 0, $stat); }
}

sub add_folder {
  my ($path, $name, $depth, $stat) = @_;
  fail("PATH_UNUSABLE", "$path: more than $DEPTH_MAX folders deep") if $depth > $DEPTH_MAX;
  header("$name/", "5", "", 0, $stat);
  opendir(my $folder, $path) or return unless_gone($path);
  # A name at a time: a folder may have millions.
  while (defined(my $entry = readdir $folder)) {
    next if $entry eq "." || $entry eq "..";
    my $below = $path =~ m{/\z} ? "$path$entry" : "$path/$entry";
    my @found = lstat $below or next;
    next if S_ISDIR($found[2]) && $found[0] != $stat->[0] && is_made_up($below);
    add($below, "$name/$entry", $depth + 1, \@found);
  }
  closedir $folder;
}

sub is_made_up {
  my ($path) = @_;
  my $answer = "\0" x 256;
  return 0 if syscall($number->{statfs}, $path, $answer) == -1;
  return $made_up{ unpack "q", $answer };
}

sub unless_gone {
  my ($path) = @_;
  return if $! == $ENOENT || $! == $ELOOP || $! == $ENOTDIR;
  fail("PATH_UNUSABLE", "$path: $!");
}

sub add_file {
  my ($path, $name) = @_;
  # Nonblocking: it may be a fifo by now.
  sysopen(my $file, $path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY) or return unless_gone($path);
  my @stat = stat $file;
  return if !S_ISREG($stat[2]);
  my $left = $stat[7];
  header($name, "0", "", $left, \@stat);
  my $padding = (512 - $left % 512) % 512;
  while ($left > 0) {
    my $count = sysread($file, my $bytes, $left < $CHUNK ? $left : $CHUNK);
    fail("PATH_UNUSABLE", "$path: $!") if !defined $count;
    last if $count == 0;
    write_all(*STDOUT, $bytes, "output");
    $left -= $count;
  }
  for ($left += $padding; $left > 0; $left -= $CHUNK) {
    write_all(*STDOUT, "\0" x ($left < $CHUNK ? $left : $CHUNK), "output");
  }
}

sub header {
  my ($name, $type, $link, $size, $stat) = @_;
  my $long = long_name("L", $name) . long_name("K", $link);
  write_all(*STDOUT, $long . block($name, $type, $link, $size, $stat), "output");
}

sub long_name {
  my ($type, $text) = @_;
  return "" if length $text <= 100;
  my $bytes = "$text\0";
  my $filled = $bytes . "\0" x ((512 - length($bytes) % 512) % 512);
  return block("././\@LongLink", $type, "", length $bytes, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]) . $filled;
}

sub block {
  my ($name, $type, $link, $size, $stat) = @_;
  my (undef, undef, $mode, undef, $uid, $gid, $rdev, undef, undef, $mtime) = @$stat;
  my $is_device = $type eq "3" || $type eq "4";
  my $major = $is_device ? ($rdev >> 8) & 0xfff : 0;
  my $minor = $is_device ? ($rdev & 0xff) | (($rdev >> 12) & 0xfff00) : 0;
  my $block = pack "a100 a8 a8 a8 a12 a12 A8 a1 a100 a8 a32 a32 a8 a8 a155 a12",
    $name, digits($mode & 07777, 8), digits($uid, 8), digits($gid, 8), digits($size, 12), digits($mtime, 12),
    "", $type, $link, "ustar  \0", "", "", digits($major, 8), digits($minor, 8), "", "";
  substr($block, 148, 8) = sprintf "%06o\0 ", unpack "%32C*", $block;
  return $block;
}

# Octal, or GNU's binary form for what octal cannot hold.
sub digits {
  my ($value, $width) = @_;
  return sprintf("%0*o", $width - 1, $value) if $value >= 0 && $value < 8 ** ($width - 1);
  my $sign = $value < 0 ? "\xff" : "\0";
  my $bytes = $sign x ($width > 8 ? $width - 8 : 0) . substr(pack("q>", $value), $width > 8 ? 0 : 8 - $width);
  substr($bytes, 0, 1) = $value < 0 ? "\xff" : "\x80";
  return $bytes;
}
`;
