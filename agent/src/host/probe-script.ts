/** Stands between the agent and the lxc-attach of a health probe: it closes every handle that lxc-attach could hand into
 * the container, joins the control groups in which all that comes of the probe is found again, and becomes lxc-attach.
 * It is perl for the reasons given in rootfs/supervisor-script.ts, and without modules, which take longer to load than
 * all the rest.
 *
 * Arguments: the processor as Node names it, files of control groups to join, "--", lxc-attach and its arguments. */
export const probeScript = String.raw`
my %numbers = (x64 => 3, arm64 => 57);
my $close = $numbers{shift @ARGV} or die "this processor is not supported\n";
opendir(my $handles, "/proc/self/fd") or die "/proc/self/fd: $!\n";
my @open = grep { /^\d+$/ && $_ > 2 && $_ != fileno $handles } readdir $handles;
closedir $handles;
syscall($close, $_ + 0) for @open;
# Where memory is short this goes first, and not the application.
put("/proc/self/oom_score_adj", 1000);
while ((my $file = shift @ARGV) ne "--") { put($file, $$); }
exec { $ARGV[0] } @ARGV or die "$ARGV[0]: $!\n";

sub put {
  my ($path, $text) = @_;
  open(my $file, ">", $path) or die "$path: $!\n";
  defined syswrite($file, $text) or die "$path: $!\n";
}
`;
