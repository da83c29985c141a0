#!/bin/sh
# Makes a Strata node of this Debian or Ubuntu machine. Safe to repeat; holds no secret.
#
#   curl … /install.sh | STRATA_JOIN_TOKEN=TOKEN sh -s -- [--name NAME] [--address ADDRESS] [--controller URL]
#   curl … /install.sh | sh -s -- --uninstall
#
# The token may also come from --token-file FILE (- reads standard input when the script itself is a file), or from
# --token TOKEN, which other users of the machine can see while it runs. STRATA_DATA [/var/lib/strata], STRATA_RUN,
# STRATA_PREFIX [/usr/local], STRATA_BRIDGE, STRATA_SUBNET and STRATA_SUBNET6 are handed on to the agent.
set -eu

say() { printf '%s\n' "strata: $*"; }
fail() {
  printf '%s\n' "strata: $1" >&2
  [ $# -lt 2 ] || printf '%s\n' "  $2" >&2
  exit 1
}

# All of it is in functions, so that a download that breaks off runs nothing.
main() {
  read_arguments "$@"
  [ "$(id -u)" = 0 ] || fail "this needs root" "run it as root, or put sudo before sh"
  data=${STRATA_DATA:-/var/lib/strata}
  if [ -n "${STRATA_DATA:-}" ]; then run=${STRATA_RUN:-$data/run}; else run=${STRATA_RUN:-/run/strata}; fi
  binary=${STRATA_PREFIX:-/usr/local}/bin/strata-agent
  export STRATA_DATA="$data" STRATA_RUN="$run"
  if [ "$uninstall" = yes ]; then uninstall; return; fi
  install_packages
  work=$(mktemp -d)
  trap 'rm -f "$work"/ca.pem "$work"/head "$work"/agent; rmdir "$work"' EXIT
  check_controller
  install_binary
  join
  start
}

read_arguments() {
  controller=${STRATA_CONTROLLER:-@URL@}
  token=${STRATA_JOIN_TOKEN:-}
  unset STRATA_JOIN_TOKEN
  name= address= uninstall=no
  while [ $# -gt 0 ]; do
    case $1 in
      --token) need_value "$@"; token=$2; shift 2 ;;
      --token-file) need_value "$@"; token=$(cat "$(echo "$2" | sed 's,^-$,/dev/stdin,')"); shift 2 ;;
      --controller) need_value "$@"; controller=${2%/}; shift 2 ;;
      --name) need_value "$@"; name=$2; shift 2 ;;
      --address) need_value "$@"; address=$2; shift 2 ;;
      --uninstall) uninstall=yes; shift ;;
      *) fail "unknown argument $1" "use --token, --token-file, --controller, --name, --address or --uninstall" ;;
    esac
  done
}

need_value() { [ $# -ge 2 ] && [ -n "$2" ] || fail "$1 needs a value"; }

# Each command that the agent needs, and the Debian package that brings it.
install_packages() {
  missing=
  for pair in lxc-execute:lxc nft:nftables ip:iproute2 openssl:openssl curl:curl perl:perl-base mount:mount; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair##*:}"
  done
  [ -n "$missing" ] || return 0
  command -v apt-get >/dev/null 2>&1 ||
    fail "missing:$missing" "this is no Debian or Ubuntu: install them by hand and run this again"
  say "installing$missing"
  # The lists are fetched only when what is there does not do. No package may start a service or make a bridge.
  # shellcheck disable=SC2086 -- one word each
  apt_install $missing || { apt-get -qq update && apt_install $missing; } ||
    fail "could not install$missing" "see the messages of apt-get above"
}

apt_install() {
  DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "$@" >/dev/null
}

# Nothing but the CA whose fingerprint the token holds is trusted from here on.
check_controller() {
  [ -n "$token" ] || [ -e "$data/agent/identity.json" ] ||
    fail "no join token" "add --token TOKEN; POST /v1/join-tokens of the controller makes one"
  hostport=${controller#*://}
  case $hostport in
    *]) host=$hostport port=443 ;;
    *:*) host=${hostport%:*} port=${hostport##*:} ;;
    *) host=$hostport port=443 ;;
  esac
  case $controller in
    http://*) fetch() { curl -fsS "$@"; }; base=$controller; return ;;
    https://*) ;;
    *) fail "$controller is no URL" "write --controller https://HOST:PORT" ;;
  esac
  curl -fsS -k -o "$work/ca.pem" "$controller/ca.pem" ||
    fail "the controller does not answer at $controller" "see that this machine reaches it, or give --controller"
  if [ -n "$token" ]; then
    seen=$(openssl x509 -in "$work/ca.pem" -outform DER | sha256sum | cut -d' ' -f1)
    [ "$seen" = "${token##*.}" ] ||
      fail "the controller's CA is not the one that the token names" "make sure of the address, and of the token"
  else
    # A node knows its CA: the line breaks of the PEM stand as \n in the JSON.
    printf '%b' "$(sed -n 's/.*"caPem": *"\([^"]*\)".*/\1/p' "$data/agent/identity.json")" >"$work/ca.pem"
    [ -s "$work/ca.pem" ] || fail "no join token" "add --token TOKEN"
  fi
  base=https://controller.strata.internal:$port
  fetch() {
    curl -fsS --cacert "$work/ca.pem" --connect-to "controller.strata.internal:$port:$host:$port" "$@"
  }
}

install_binary() {
  case $(uname -m) in
    x86_64) platform=linux-amd64 ;;
    aarch64) platform=linux-arm64 ;;
    *) fail "no agent for $(uname -m)" "amd64 and arm64 are supported" ;;
  esac
  present=
  [ ! -e "$binary" ] || present=$(sha256sum "$binary" | cut -d' ' -f1)
  fetch -D "$work/head" -o "$work/agent" -H "If-None-Match: \"sha256:$present\"" "$base/v1/agent/$platform" ||
    fail "could not fetch the agent" "the controller says why: GET $controller/v1/agent/$platform"
  changed=no
  # curl leaves no file for a 304: what is here is what the controller has.
  [ -s "$work/agent" ] || return 0
  wanted=$(tr -d '\r' <"$work/head" | sed -n 's/^[Xx]-[Cc]hecksum-[Ss]ha256: *//p' | tail -1)
  got=$(sha256sum "$work/agent" | cut -d' ' -f1)
  [ "$got" = "$wanted" ] || fail "the agent arrived damaged" "run this again"
  mkdir -p "$(dirname "$binary")"
  # Renamed into place: a running agent keeps its old file.
  cp "$work/agent" "$binary.new"
  chmod 755 "$binary.new"
  mv "$binary.new" "$binary"
  changed=yes
  say "installed $binary"
}

join() {
  if [ -e "$data/agent/identity.json" ]; then say "this machine is a node already"; return; fi
  set -- --controller "$controller"
  [ -z "$name" ] || set -- "$@" --name "$name"
  [ -z "$address" ] || set -- "$@" --address "$address"
  # By standard input: arguments can be read by every user of the machine.
  printf '%s\n' "$token" | "$binary" join --token - "$@"
}

start() {
  if [ -d /run/systemd/system ]; then start_unit; else start_daemon; fi
}

start_unit() {
  unit=/etc/systemd/system/strata-agent.service
  cat >"$unit.new" <<UNIT
[Unit]
Description=Strata agent
After=network-online.target
Wants=network-online.target

[Service]
ExecStart=$binary run
Environment=STRATA_DATA=$data STRATA_RUN=$run ${STRATA_BRIDGE:+STRATA_BRIDGE=$STRATA_BRIDGE} ${STRATA_SUBNET:+STRATA_SUBNET=$STRATA_SUBNET} ${STRATA_SUBNET6:+STRATA_SUBNET6=$STRATA_SUBNET6}
Restart=always
RestartSec=2
# An operator deleted the node.
RestartPreventExitStatus=78
# The containers outlive the agent.
KillMode=process
Delegate=yes
TasksMax=infinity

[Install]
WantedBy=multi-user.target
UNIT
  cmp -s "$unit.new" "$unit" || changed=yes
  mv "$unit.new" "$unit"
  systemctl daemon-reload
  systemctl -q enable strata-agent
  if [ "$changed" = yes ]; then systemctl restart strata-agent; else systemctl start strata-agent; fi
  say "the agent runs: journalctl -u strata-agent"
}

start_daemon() {
  mkdir -p "$run" "$data/log"
  pidfile=$run/agent-supervisor.pid
  log=$data/log/agent.log
  if is_running "$pidfile"; then
    if [ "$changed" = no ]; then say "the agent runs already"; return; fi
    stop_daemon
  fi
  # Restarts an agent that ends; a second TERM is not needed, for the agent leaves its containers running.
  # shellcheck disable=SC2016 -- for the inner shell
  setsid sh -c '
    trap "kill -TERM \$child 2>/dev/null; wait \$child; exit 0" TERM INT
    while :; do
      "$1" run &
      child=$!
      status=0
      wait $child || status=$?
      [ $status -ne 78 ] || exit 0
      sleep 2 &
      child=$!
      wait $child || true
    done' strata-agent-supervisor "$binary" >>"$log" 2>&1 </dev/null &
  echo $! >"$pidfile"
  say "the agent runs: $log"
}

is_running() { [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }

stop_daemon() {
  pidfile=$run/agent-supervisor.pid
  if is_running "$pidfile"; then
    pid=$(cat "$pidfile")
    kill -TERM "$pid"
    tries=0
    while kill -0 "$pid" 2>/dev/null && [ $tries -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
  fi
  rm -f "$pidfile"
}

uninstall() {
  if [ -d /run/systemd/system ] && [ -e /etc/systemd/system/strata-agent.service ]; then
    systemctl -q disable --now strata-agent || true
    rm -f /etc/systemd/system/strata-agent.service
    systemctl daemon-reload
  fi
  stop_daemon
  # Stops its containers and takes back bridge, table, mounts, groups and data.
  if [ -x "$binary" ]; then
    "$binary" purge || fail "could not take back everything" "see the messages above, then run this again"
  fi
  rm -f "$binary" "$binary.old" "$binary.new" "$data/log/agent.log"
  say "the agent is gone; delete the node too: DELETE /v1/nodes/NAME"
}

main "$@"
