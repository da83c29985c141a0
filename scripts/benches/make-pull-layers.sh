#!/bin/sh
# Makes the layers of the images that `scripts/bench pull` pulls, as NAME/NN.tar.gz, lowest first:
#   small    busybox and an application, 4 MB
#   debian   a Debian userland of some 200 MB in one layer
#   layers   a Debian with tools, some 600 MB in 20 layers
#   make-pull-layers.sh EMPTY_FOLDER     Takes a minute or two; needs mmdebstrap, pigz and busybox-static.
set -eu
umask 022
cd "$1"
work=$PWD/work
mkdir small debian layers work

# pigz writes one gzip member, as image builders do.
pack() { tar --numeric-owner -C "$1" -c --no-recursion --null -T "$2" | pigz -6 -n >"$3"; }

mkdir -p "$work/small/bin" "$work/app/srv"
cp /bin/busybox "$work/small/bin/"
for name in sh cat sleep httpd; do ln -s busybox "$work/small/bin/$name"; done
head -c 3000000 /dev/urandom >"$work/app/srv/app"
number=1
for tree in small app; do
  (cd "$work/$tree" && find . -print0) >"$work/list"
  pack "$work/$tree" "$work/list" "small/0$number.tar.gz"
  number=$((number + 1))
done

userland() {
  mmdebstrap --quiet --mode=root --format=directory --variant=apt --include="$1" --skip=output/dev \
    --dpkgopt=force-unsafe-io bookworm "$work/$2" >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; exit 1; }
}

userland ca-certificates,curl,git,procps,vim-tiny debian
(cd "$work/debian" && find . -print0) >"$work/list"
pack "$work/debian" "$work/list" debian/01.tar.gz

userland ca-certificates,curl,g++,git,perl,procps,python3,vim many
# Parts of a tree in its own order, of as many bytes each as its files allow: 20 layers that add up to it.
(cd "$work/many" && find . -printf '%s %p\n') | awk -v to="$work/part" '
  { size[NR] = $1 + 512; left += size[NR]; name[NR] = substr($0, index($0, " ") + 1) }
  END { for (i = part = 1; i <= NR; i++) {
    printf "%s%c", name[i], 0 > sprintf("%s-%02d", to, part)
    done += size[i]
    if (done >= left / (21 - part) && part < 20) { left -= done; done = 0; part++ } } }'
for part in "$work"/part-*; do pack "$work/many" "$part" "layers/${part##*-}.tar.gz"; done
rm -rf "$work"
