#!/bin/sh
# Makes a folder once and keeps it: CACHE/NAME is there whole or not at all, whoever is killed on the way and however
# many want it at once, from this checkout or another.
#   kept-folder.sh CACHE NAME COMMAND…     COMMAND gets an empty folder as its last argument, and fills it.
set -eu
cache=$1 name=$2
shift 2
mkdir -p "$cache"
# Whatever the command starts holds the lock too, so that nothing still writes to what the next one sweeps.
exec 9>"$cache/lock"
flock -w 1800 9 || { echo "$cache is locked by another build" >&2; exit 1; }
if [ ! -d "$cache/$name" ]; then
  # What builds that were killed left, and what no checkout has asked for in two weeks.
  find "$cache" -mindepth 1 -maxdepth 1 -type d \( -name 'unfinished.*' -o -mtime +14 \) -exec rm -rf {} +
  work=$(mktemp -d "$cache/unfinished.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  chmod 755 "$work"
  "$@" "$work"
  # On the disk before it gets its name, so that a power cut cannot leave the name without the content.
  sync -f "$work"
  mv "$work" "$cache/$name"
  trap - EXIT
fi
touch "$cache/$name"
