import { enterScript } from "./enter-script.ts";

/** Unpacks a tar archive from its standard input into a container. Its wishes are the path and, if the archive holds one
 * tree, the name of that; then path may be the new name of the tree, as `cp` has it. Every file appears whole under its
 * name or not at all. Says "ENTRIES BYTES SKIPPED" on its standard output. */
export const copyInScript = String.raw`${enterScript}
my ($HEADER_BYTES_MAX, $TRAILING_BYTES_MAX, $TIMES_MAX) = (1024 * 1024, 1024 * 1024, 100_000);

my ($path, $top) = @wishes;
my ($target, $renamed, $wants_folder) = find_target();
my ($entries, $bytes, $skipped, $serial, $made_parent) = (0, 0, 0, 0, "");
my (@times, $buffer, $temporary);
$buffer = "";
$SIG{PIPE} = "IGNORE";

take_entries();
utime(time, $_->[1], $_->[0]) for reverse @times;
syswrite(STDOUT, "$entries $bytes $skipped\n");
exit(0);

END { unlink $temporary if defined $temporary; }

sub refuse { fail("ARCHIVE_INVALID", $_[0]) }

sub unusable {
  my ($what) = @_;
  fail("PATH_UNUSABLE", "$what: $!");
}

# The folder to unpack in, the new name of the tree if it gets one, and whether that has to be a folder.
sub find_target {
  return ($path, undef, 0) if -d $path;
  my $has_slash = $path =~ m{/\.?\z};
  (my $plain = $path) =~ s{/+\.?\z}{};
  my $exists = lstat $plain;
  fail("PATH_UNUSABLE", "$path is not a folder") if $exists && (!defined $top || $has_slash);
  my ($parent, $name) = $plain =~ m{^(.*)/([^/]+)\z}s;
  $parent = "/" if defined $parent && $parent eq "";
  fail("PATH_NOT_FOUND", "there is no folder $path") if !defined $top || !defined $parent || !-d $parent;
  return ($parent, $name, $has_slash);
}

sub take_entries {
  my (%long, %pax);
  for (;;) {
    my $block = read_exactly(512);
    last if $block eq "\0" x 512;
    my %entry = parse_header($block);
    if ($entry{type} =~ /^[LK]$/) {
      my $text = read_small($entry{size});
      $text =~ s/\0.*//s;
      $long{$entry{type}} = $text;
      next;
    }
    if ($entry{type} =~ /^[xg]$/) {
      my %values = parse_pax(read_small($entry{size}));
      %pax = (%pax, %values) if $entry{type} eq "x";
      next;
    }
    $entry{name} = $long{L} if defined $long{L};
    $entry{link} = $long{K} if defined $long{K};
    refuse("sparse archives are not understood: make it without --sparse") if grep { /^GNU\.sparse/ } keys %pax;
    $entry{name} = $pax{path} if defined $pax{path};
    $entry{link} = $pax{linkpath} if defined $pax{linkpath};
    for my $key (qw(size uid gid mtime)) {
      next if !defined $pax{$key};
      refuse("$key of $entry{name} is no number") if $pax{$key} !~ /^-?\d{1,18}(\.\d*)?$/;
      $entry{$key} = int $pax{$key};
    }
    refuse("$entry{name} has a negative size") if $entry{size} < 0;
    take_entry(\%entry);
    %long = ();
    %pax = ();
  }
  my $trailing = 0;
  for (;;) {
    my $count = sysread(STDIN, my $rest, $CHUNK) or last;
    $trailing += $count;
    refuse("there is more after the archive's end") if $trailing > $TRAILING_BYTES_MAX;
  }
}

sub take_entry {
  my ($entry) = @_;
  my $type = $entry->{type};
  $type = "5" if $type =~ /^[\0 07]$/ && $entry->{name} =~ m{/\z};
  my $place = place($entry->{name}, $type);
  # Only files have contents, whatever the header says.
  if ($type =~ /^[\0 07]$/) { write_entry($place, $entry); }
  else {
    refuse("$entry->{name} has contents, but is no file") if $entry->{size} > 0 && $type =~ /^[1-6]$/;
    skip_bytes($entry->{size});
    if ($type eq "5") { make_folder($place, $entry); }
    elsif ($type eq "2") { make_link($place, sub { symlink $entry->{link}, $_[0] }, $entry); }
    elsif ($type eq "1") {
      my $source = place($entry->{link}, $type);
      make_link($place, sub { link $source, $_[0] }, undef);
    }
    else { $skipped += 1; return; }
  }
  $entries += 1;
}

# Where an entry goes. The container's own links may be on the way; they lead nowhere but into the container.
sub place {
  my ($name, $type) = @_;
  refuse("an entry has no name") if $name eq "";
  refuse("a name is longer than 4096 bytes") if length $name > 4096;
  refuse("a name holds a NUL") if $name =~ /\0/;
  my @parts = grep { $_ ne "" && $_ ne "." } split m{/}, $name;
  refuse("$name leads out of the archive") if grep { $_ eq ".." } @parts;
  if (defined $top && $top ne ".") {
    refuse("$name is not in $top") if !@parts || $parts[0] ne $top;
  }
  if (defined $renamed) {
    shift @parts if $top ne ".";
    fail("PATH_NOT_FOUND", "there is no folder $path") if $wants_folder && !@parts && $type ne "5";
    unshift @parts, $renamed;
  }
  return $target if !@parts;
  my $last = pop @parts;
  my $parent = join "/", ($target eq "/" ? "" : $target), @parts;
  make_parent($parent) if $parent ne $made_parent;
  $made_parent = $parent;
  return "$parent/$last";
}

sub make_parent {
  my ($parent) = @_;
  my $made = "";
  for my $part (grep { $_ ne "" } split m{/}, $parent) {
    $made .= "/$part";
    next if -d $made;
    mkdir $made, 0755 or unusable($made);
  }
}

# What is there already stays as it is.
sub make_folder {
  my ($place, $entry) = @_;
  return if -d $place;
  mkdir $place, 0700 or unusable($place);
  own($place, $entry);
  chmod $entry->{mode}, $place or unusable($place);
  push @times, [$place, $entry->{mtime}] if @times < $TIMES_MAX;
}

sub own {
  my ($place, $entry) = @_;
  my $result = syscall($number->{fchownat}, $AT_FDCWD, $place, $entry->{uid}, $entry->{gid}, $AT_SYMLINK_NOFOLLOW);
  unusable("owner $entry->{uid}:$entry->{gid} of $place") if $result == -1;
}

sub next_temporary {
  my ($place) = @_;
  my ($folder) = $place =~ m{^(.*)/[^/]+\z}s;
  $serial += 1;
  return "$folder/.strata-$$-$serial";
}

sub appear {
  my ($place) = @_;
  rename $temporary, $place or unusable($place);
  # Two names of one file: rename does nothing then.
  unlink $temporary if lstat $temporary;
  undef $temporary;
}

sub make_link {
  my ($place, $make, $owned) = @_;
  $temporary = next_temporary($place);
  $make->($temporary) or unusable($place);
  own($temporary, $owned) if defined $owned;
  appear($place);
}

sub write_entry {
  my ($place, $entry) = @_;
  $temporary = next_temporary($place);
  sysopen(my $file, $temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600) or do { undef $temporary; unusable($place) };
  my $left = $entry->{size};
  while ($left > 0) {
    my $chunk = read_some($left < $CHUNK ? $left : $CHUNK);
    $left -= length $chunk;
    $bytes += length $chunk;
    # Zeros become a hole.
    if (length $chunk >= 4096 && $chunk !~ /[^\0]/) { sysseek($file, length $chunk, 1) or unusable($place); }
    else { write_file_bytes($file, $chunk, $place); }
  }
  skip_bytes((512 - $entry->{size} % 512) % 512);
  truncate $file, $entry->{size} or unusable($place);
  own($temporary, $entry);
  chmod $entry->{mode}, $file or unusable($place);
  utime(time, $entry->{mtime}, $file);
  close $file or unusable($place);
  appear($place);
}

sub write_file_bytes {
  my ($file, $chunk, $place) = @_;
  for (my $offset = 0; $offset < length $chunk;) {
    my $count = syswrite($file, $chunk, length($chunk) - $offset, $offset);
    unusable($place) if !defined $count;
    $offset += $count;
  }
}

sub parse_header {
  my ($block) = @_;
  my ($name, $mode, $uid, $gid, $size, $mtime, $sum, $type, $link, $magic, $prefix) =
    unpack "Z100 a8 a8 a8 a12 a12 a8 a1 Z100 a6 x2 x32 x32 x8 x8 Z155", $block;
  substr($block, 148, 8) = " " x 8;
  refuse("this is no tar archive, or it is damaged") if number_of($sum) != unpack "%32C*", $block;
  $name = "$prefix/$name" if $magic eq "ustar\0" && $prefix ne "";
  refuse("sparse archives are not understood: make it without --sparse") if $type eq "S";
  return (
    name => $name, link => $link, type => $type, mode => number_of($mode) & 07777,
    uid => number_of($uid), gid => number_of($gid), size => number_of($size), mtime => number_of($mtime),
  );
}

# Octal, or GNU's binary form.
sub number_of {
  my ($field) = @_;
  my $first = ord $field;
  if ($first & 0x80) {
    my $is_negative = $first == 0xff;
    my $tail = substr $field, -8;
    substr($tail, 0, 1) = chr(ord($tail) & 0x7f) if !$is_negative && length $field == 8;
    my $value = unpack "q>", $tail;
    refuse("a number does not fit") if ($value < 0) != $is_negative;
    return $value;
  }
  my ($digits) = $field =~ /^[ \0]*([0-7]*)[ \0]*$/ or refuse("this is no tar archive, or it is damaged");
  return $digits eq "" ? 0 : oct $digits;
}

sub parse_pax {
  my ($text) = @_;
  my %values;
  while ($text ne "") {
    my ($length) = $text =~ /^(\d{1,7}) /;
    refuse("a PAX header is damaged") if !defined $length || $length > length $text;
    my ($key, $value) = substr($text, 0, $length, "") =~ /^\d+ ([^=\0]+)=(.*)\n\z/s;
    refuse("a PAX header is damaged") if !defined $value;
    $values{$key} = $value;
  }
  return %values;
}

sub read_small {
  my ($size) = @_;
  refuse("a header of $size bytes is too long") if $size < 0 || $size > $HEADER_BYTES_MAX;
  my $text = read_exactly($size);
  skip_bytes((512 - $size % 512) % 512);
  return $text;
}

sub skip_bytes {
  my ($left) = @_;
  while ($left > 0) { $left -= length read_some($left < $CHUNK ? $left : $CHUNK); }
}

sub read_exactly {
  my ($size) = @_;
  my $text = "";
  while (length $text < $size) { $text .= read_some($size - length $text); }
  return $text;
}

sub read_some {
  my ($size) = @_;
  if ($buffer eq "") {
    my $count = sysread(STDIN, $buffer, $CHUNK);
    refuse("it ended before the archive did") if !$count;
  }
  return substr($buffer, 0, $size, "");
}
`;
