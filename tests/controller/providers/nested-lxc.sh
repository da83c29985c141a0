#!/bin/sh
# What an agent does in an instance, by hand: layers, overlay, user namespace, network, limits, lxc-execute.
# $1: idmapped, when the layers are expected to be mountable with other ids; plain otherwise.
set -eu
cd "$(mktemp -d -p /srv)" && chmod 755 .
mkdir -p layer/bin layer/proc layer/sys layer/dev upper work rootfs mapped
cp /bin/busybox layer/bin/
for tool in sh id cat; do ln -s busybox "layer/bin/$tool"; done
chown 1000000:1000000 upper work

# A process that does nothing but hold the user namespace of the container's ids.
perl -e 'pipe(R, W); if (!(my $p = fork)) { syscall(272, 0x10000000) == 0 or die; syswrite W, "x"; exec "sleep", "60" }
  else { sysread R, my $b, 1; for my $k ("uid", "gid") { open F, ">", "/proc/$p/${k}_map"; print F "0 1000000 65536\n";
  close F or die "$k: $!" } print $p }' >holder
# open_tree(CLONE | CLOEXEC), mount_setattr(IDMAP), move_mount
perl -e 'my ($from, $to, $pid) = @ARGV; my $empty = "";
  my $tree = syscall(428, -100, $from, 0x80001); die "open_tree: $!" if $tree < 0;
  open(my $ns, "<", "/proc/$pid/ns/user") or die; my $attributes = pack("QQQQ", 0x100000, 0, 0, fileno $ns);
  syscall(442, $tree, $empty, 0x1000, $attributes, 32) == 0 or do { print "idmap: $!\n"; exit };
  syscall(429, $tree, $empty, -100, $to, 4) == 0 or die "move_mount: $!"; print "idmap: ok\n"' \
  "$PWD/layer" "$PWD/mapped" "$(cat holder)"
kill "$(cat holder)"
if [ "$1" = idmapped ]; then lower=mapped; else lower=layer; fi
mount -t overlay overlay -o "lowerdir=$lower,upperdir=upper,workdir=work" rootfs

if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  limits='lxc.cgroup2.memory.max = 67108864'
else
  limits='lxc.cgroup.memory.limit_in_bytes = 67108864'
fi
cat >config <<EOF
lxc.uts.name = nested
lxc.rootfs.path = dir:$PWD/rootfs
lxc.idmap = u 0 1000000 65536
lxc.idmap = g 0 1000000 65536
lxc.mount.auto = proc:mixed sys:ro
lxc.cap.keep = chown setuid setgid kill net_bind_service
lxc.no_new_privs = 1
lxc.net.0.type = veth
lxc.net.0.veth.mode = router
lxc.net.0.ipv4.address = 10.9.9.2/32
lxc.net.0.ipv4.gateway = dev
lxc.net.0.flags = up
$limits
lxc.console.path = none
lxc.tty.max = 0
# Where the kernel has AppArmor and nobody has loaded LXC's profile, LXC refuses to start without this.
lxc.apparmor.profile = unconfined
EOF
status=0
lxc-execute -n nested -f config -l ERROR -o log -- /bin/sh -c 'id; cat /proc/self/uid_map; exit 7' || status=$?
cat log
umount rootfs
[ "$1" = plain ] || umount mapped
[ "$status" = 7 ]
