#!/bin/sh
# A provider for machines that already exist: it lends the hosts of a list to partitions, over ssh.
# Protocol: docs/reference/providers.md. Needs jq and flock.
#
#   POOL_HOSTS    file with one host (ssh destination) per line
#   POOL_STATE    folder that remembers who has which host
#   POOL_CONNECT  runs a command on a host: CONNECT HOST COMMAND [ssh -o BatchMode=yes -o ConnectTimeout=10]
set -eu
umask 077
connect=${POOL_CONNECT:-ssh -o BatchMode=yes -o ConnectTimeout=10}
mkdir -p "$POOL_STATE/leases" "$POOL_STATE/broken"

question=$(cat)
ask() { printf %s "$question" | jq -r "$@"; }

fail() { # CODE MESSAGE
  jq -n --arg code "$1" --arg message "$2" '{error: {code: $code, message: $message}}'
  exit 1
}

# The host that a client token has, if any. A lease is one file, named for its host.
host_of_token() {
  for lease in "$POOL_STATE"/leases/*; do
    [ -e "$lease" ] || continue
    if [ "$(jq -r .clientToken "$lease")" = "$1" ]; then
      basename "$lease"
      return
    fi
  done
}

free_host() {
  while IFS= read -r host || [ -n "$host" ]; do
    case $host in '' | '#'*) continue ;; esac
    [ -e "$POOL_STATE/leases/$host" ] || [ -e "$POOL_STATE/broken/$host" ] || { echo "$host"; return; }
  done <"$POOL_HOSTS"
}

# Written beside its place and renamed, so that a reader never sees half of it.
write_lease() { # HOST STARTED
  ask --arg id "$1" --argjson started "$2" '{id: $id, controllerId, started: $started} +
    (.request | {clientToken, partition, labels})' >"$POOL_STATE/new.$1"
  mv "$POOL_STATE/new.$1" "$POOL_STATE/leases/$1"
}

vm() { # HOST: the lease as a VM of the protocol
  state=creating
  if [ "$(jq -r .started "$POOL_STATE/leases/$1")" = true ]; then
    if $connect "$1" true </dev/null >/dev/null 2>&1; then state=running; else state=stopped; fi
  fi
  jq --arg state "$state" 'del(.started) + {state: $state}' "$POOL_STATE/leases/$1"
}

create() {
  token=$(ask .request.clientToken)
  # Choosing is for one at a time; what takes long comes after.
  exec 9>"$POOL_STATE/lock"
  flock -w 30 9 || fail timeout "the pool is locked"
  host=$(host_of_token "$token")
  if [ -z "$host" ]; then
    host=$(free_host)
    [ -n "$host" ] || fail capacity "every host of the pool is lent"
    write_lease "$host" false
  fi
  exec 9>&-
  if [ "$(jq -r .started "$POOL_STATE/leases/$host")" != true ]; then
    ask .request.script | $connect "$host" sh >&2 || fail failed "$host did not run its first boot"
    write_lease "$host" true
  fi
  vm "$host" | jq '{vm: .}'
}

# A host is named by the lease that we wrote; an id that names none is absent.
describe() {
  id=$(ask .id)
  case $id in */* | .*) fail invalid "$id is not a host" ;; esac
  if [ -e "$POOL_STATE/leases/$id" ]; then vm "$id" | jq '{vm: .}'; else echo '{"vm": null}'; fi
}

list() {
  for lease in "$POOL_STATE"/leases/*; do
    [ -e "$lease" ] || continue
    vm "$(basename "$lease")"
  done | jq -s '{vms: .}'
}

delete() {
  id=$(ask .id)
  case $id in */* | .*) fail invalid "$id is not a host" ;; esac
  uninstall='if [ -x /usr/local/bin/strata-agent ]; then /usr/local/bin/strata-agent purge; fi'
  # A host that does not answer is not lent again until somebody removes its file here.
  printf '%s\n' "$uninstall" | $connect "$id" sh >&2 || : >"$POOL_STATE/broken/$id"
  rm -f "$POOL_STATE/leases/$id"
  echo '{}'
}

case $(ask .action) in
  create) create ;;
  describe) describe ;;
  list) list ;;
  delete) delete ;;
  *) fail invalid "unknown action" ;;
esac
