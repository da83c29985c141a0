#!/bin/sh
# Makes the machine that the tests of providers boot, from Debian's packages alone: one tree, as an image for Incus
# or LXD (image.tar) and as a disk for QEMU (disk.raw with vmlinuz and initrd.img). Kept in a cache, because it takes
# minutes; the caller names the folder by the hash of this script.
#   make-debian-image.sh CACHE_FOLDER IMAGE_FOLDER
set -eu
umask 022
cache=$1 image=$2
[ -e "$image/done" ] && exit 0

work=$(mktemp -d "$cache/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
root=$work/rootfs
mkdir -p "$cache/debs" "$work/templates"

packages=systemd-sysv,dbus,udev,procps,perl-base,busybox-static,iproute2,nftables,curl,openssl,ca-certificates
packages=$packages,lxc,cloud-init,python3-cffi-backend,linux-image-cloud-amd64
debootstrap --cache-dir="$cache/debs" --variant=minbase --include=$packages bookworm "$root" \
  http://deb.debian.org/debian >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; exit 1; }
rm -rf "$root"/debootstrap "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* \
  "$root"/usr/share/doc "$root"/usr/share/man "$root"/usr/share/locale "$root"/etc/hostname
: >"$root/etc/machine-id"

cat >"$root/etc/systemd/network/20-dhcp.network" <<'EOF'
[Match]
Name=e*
[Network]
DHCP=ipv4
[DHCPv4]
ClientIdentifier=mac
EOF
# The network above is all that the tests have, and what they look for is a seed or a server's user data. The modules
# are those that a first boot uses: each costs seconds where the machine is emulated.
cat >"$root/etc/cloud/cloud.cfg.d/90-tests.cfg" <<'EOF'
datasource_list: [NoCloud, LXD, None]
network: {config: disabled}
cloud_init_modules: [write-files, resizefs, set_hostname]
cloud_config_modules: [runcmd]
cloud_final_modules: [scripts-user]
EOF
# Only what a virtual machine needs to find its disk.
sed -i 's/^MODULES=.*/MODULES=list/' "$root/etc/initramfs-tools/initramfs.conf"
printf 'virtio_pci\nvirtio_blk\next4\n' >>"$root/etc/initramfs-tools/modules"
chroot "$root" update-initramfs -u >>"$work/log" 2>&1
echo 'LABEL=root / ext4 defaults 0 1' >"$root/etc/fstab"

# Where the host has cpu and cpuacct as two hierarchies of cgroup v1, systemd in a container mounts neither, since it
# wants them as one, and LXC in there then finds a link to nothing.
cat >"$root/usr/local/sbin/mount-cgroups" <<'EOF'
#!/bin/sh
set -eu
cd /sys/fs/cgroup
[ -L cpu ] && [ -d cpu,cpuacct ] && ! mountpoint -q cpu,cpuacct || exit 0
mount -o remount,rw /sys/fs/cgroup
for controller in cpu cpuacct; do
  rm "$controller" && mkdir "$controller" && mount -t cgroup -o "$controller" cgroup "$controller"
done
EOF
chmod 755 "$root/usr/local/sbin/mount-cgroups"
cat >"$root/etc/systemd/system/mount-cgroups.service" <<'EOF'
[Unit]
DefaultDependencies=no
Before=basic.target
[Service]
Type=oneshot
ExecStart=/usr/local/sbin/mount-cgroups
[Install]
WantedBy=basic.target
EOF
unwanted="apt-daily-upgrade.timer apt-daily.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service
  fstrim.timer lxc-net.service lxc.service lxc-monitord.service"
# shellcheck disable=SC2086
chroot "$root" systemctl -q disable $unwanted
chroot "$root" systemctl -q enable systemd-networkd mount-cgroups
chroot "$root" systemctl -q mask getty.target
chroot "$root" systemctl -q set-default multi-user

mkdir "$work/image"
cat >"$work/metadata.yaml" <<'EOF'
architecture: x86_64
creation_date: 1700000000
properties: {description: Debian 12 for tests, os: debian, release: bookworm}
templates: {/etc/hostname: {when: [create, copy], template: hostname.tpl}}
EOF
echo '{{ container.name }}' >"$work/templates/hostname.tpl"
tar -C "$work" -cf "$work/image/image.tar" --exclude='rootfs/boot/*' --exclude='rootfs/usr/lib/modules/*' \
  metadata.yaml templates rootfs

cp "$root"/boot/vmlinuz-* "$work/image/vmlinuz"
cp "$root"/boot/initrd.img-* "$work/image/initrd.img"
rm -f "${root:?}"/boot/*
mke2fs -q -t ext4 -L root -d "$root" "$work/image/disk.raw" 2G

: >"$work/image/done"
mv "$work/image" "$image"
