#!/bin/sh
# Makes the root file system that the test of system containers runs, from Debian's packages alone: systemd and runit,
# each with services that a test can look at.
#   make-system-image.sh EMPTY_FOLDER     Takes a minute; needs mmdebstrap.
set -eu
umask 022
cd "$1"
root=$PWD/rootfs
mmdebstrap --quiet --mode=root --format=directory --variant=minbase \
  --include=systemd,systemd-sysv,runit,busybox-static --dpkgopt=force-unsafe-io \
  --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$root" >log 2>&1 ||
  { tail -n 20 log >&2; exit 1; }
rm -rf "$root/etc/hostname" "$root/etc/resolv.conf" log
: >"$root/etc/machine-id"

mkdir -p "$root/srv/www"
echo 'served by an init' >"$root/srv/www/index.html"
cat >"$root/etc/systemd/system/web.service" <<'UNIT'
[Service]
ExecStart=/bin/busybox httpd -f -p 8080 -h /srv/www
Restart=always
RestartSec=0
[Install]
WantedBy=multi-user.target
UNIT
cat >"$root/etc/systemd/system/worker.service" <<'UNIT'
[Service]
ExecStart=/bin/sleep infinity
User=daemon
PrivateTmp=yes
ProtectSystem=strict
[Install]
WantedBy=multi-user.target
UNIT
chroot "$root" systemctl -q enable web worker
chroot "$root" systemctl -q mask console-getty.service getty.target

# runit's three stages; stage 2 runs until runit is told to stop.
mkdir -p "$root/etc/runit" "$root/srv/service/web" "$root/srv/service/worker"
cat >"$root/etc/runit/1" <<'STAGE'
#!/bin/sh
# Whether runit may stop, and how, is told by the modes of these two.
: >/run/runit.stopit
: >/run/runit.reboot
chmod 100 /run/runit.stopit
chmod 0 /run/runit.reboot
STAGE
printf '#!/bin/sh\nexec runsvdir -P /srv/service\n' >"$root/etc/runit/2"
printf '#!/bin/sh\nsv -w 5 force-stop /srv/service/*\necho all services ended\n' >"$root/etc/runit/3"
printf '#!/bin/sh\nexec /bin/busybox httpd -f -p 8080 -h /srv/www\n' >"$root/srv/service/web/run"
printf '#!/bin/sh\nexec sleep infinity\n' >"$root/srv/service/worker/run"
chmod 755 "$root"/etc/runit/[123] "$root"/srv/service/*/run
