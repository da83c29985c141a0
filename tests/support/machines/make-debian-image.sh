#!/bin/sh
# Makes the machine that the tests of providers boot, from Debian's packages alone: one tree, as an image for Incus
# or LXD (image.tar) and as a disk for QEMU (disk.raw with vmlinuz and initrd.img).
#   make-debian-image.sh EMPTY_FOLDER     Takes a minute; needs mmdebstrap and e2fsprogs.
set -eu
umask 022
cd "$1"
root=$PWD/rootfs
mkdir templates

# What an agent needs is in it, so that a first boot installs nothing.
packages=systemd-sysv,dbus,udev,procps,perl-base,busybox-static,iproute2,nftables,curl,openssl,ca-certificates
packages=$packages,lxc,cloud-init,python3-cffi-backend,linux-image-cloud-amd64
# The initrd has only what a virtual machine needs to find its disk.
# shellcheck disable=SC2016 # $1 is mmdebstrap's: the new root.
initramfs='mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"
  echo MODULES=list >"$1/etc/initramfs-tools/conf.d/tests"
  printf "virtio_pci\nvirtio_blk\next4\n" >"$1/usr/share/initramfs-tools/modules.d/tests"'
mmdebstrap --quiet --mode=root --format=directory --variant=minbase --include=$packages \
  --dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' --essential-hook="$initramfs" bookworm "$root" >log 2>&1 ||
  { tail -n 20 log >&2; exit 1; }
rm -f "$root/etc/hostname" "$root/etc/resolv.conf"
: >"$root/etc/machine-id"

cat >"$root/etc/systemd/network/20-dhcp.network" <<'UNIT'
[Match]
Name=e*
[Network]
DHCP=ipv4
[DHCPv4]
ClientIdentifier=mac
UNIT
# The network above is all that the tests have. Where there is neither a seed nor a server's user data, cloud-init does
# not run at all. The modules are those that a first boot uses: each costs seconds where the machine is emulated.
cat >"$root/etc/cloud/cloud.cfg.d/90-tests.cfg" <<'CONFIG'
datasource_list: [NoCloud, LXD]
network: {config: disabled}
cloud_init_modules: [write-files, resizefs, set_hostname]
cloud_config_modules: [runcmd]
cloud_final_modules: [scripts-user]
CONFIG
echo 'LABEL=root / ext4 defaults 0 1' >"$root/etc/fstab"

# Where the host has cpu and cpuacct as two hierarchies of cgroup v1, systemd in a container mounts neither, since it
# wants them as one, and LXC in there then finds a link to nothing.
cat >"$root/usr/local/sbin/mount-cgroups" <<'SCRIPT'
#!/bin/sh
set -eu
cd /sys/fs/cgroup
[ -L cpu ] && [ -d cpu,cpuacct ] && ! mountpoint -q cpu,cpuacct || exit 0
mount -o remount,rw /sys/fs/cgroup
for controller in cpu cpuacct; do
  rm "$controller" && mkdir "$controller" && mount -t cgroup -o "$controller" cgroup "$controller"
done
SCRIPT
chmod 755 "$root/usr/local/sbin/mount-cgroups"
cat >"$root/etc/systemd/system/mount-cgroups.service" <<'UNIT'
[Unit]
DefaultDependencies=no
Before=basic.target
[Service]
Type=oneshot
ExecStart=/usr/local/sbin/mount-cgroups
[Install]
WantedBy=basic.target
UNIT
unwanted="apt-daily-upgrade.timer apt-daily.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service
  fstrim.timer lxc-net.service lxc.service lxc-monitord.service"
# shellcheck disable=SC2086 # One word for each unit.
chroot "$root" systemctl -q disable $unwanted
chroot "$root" systemctl -q enable systemd-networkd mount-cgroups
chroot "$root" systemctl -q mask getty.target
chroot "$root" systemctl -q set-default multi-user

cat >metadata.yaml <<'METADATA'
architecture: x86_64
creation_date: 1700000000
properties: {description: Debian 12 for tests, os: debian, release: bookworm}
templates: {/etc/hostname: {when: [create, copy], template: hostname.tpl}}
METADATA
echo '{{ container.name }}' >templates/hostname.tpl
tar -cf image.tar --exclude='rootfs/boot/*' --exclude='rootfs/usr/lib/modules/*' metadata.yaml templates rootfs

cp "$root"/boot/vmlinuz-* vmlinuz
cp "$root"/boot/initrd.img-* initrd.img
rm -f "${root:?}"/boot/*
mke2fs -q -t ext4 -L root -d "$root" disk.raw 2G >/dev/null
rm -rf "$root" templates metadata.yaml log
