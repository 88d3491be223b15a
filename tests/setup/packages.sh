#!/usr/bin/env bash
# Checks for what the tests and the demo need of the system. As root on Debian or Ubuntu it installs what is missing;
# elsewhere it names it, with the command, and fails. Silent when there is nothing to do.
#
#   packages.sh GROUP...     groups: build, servers, node; all of them by default
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

missing=()

# need CHECK NAME PACKAGE: notes the package ("a|b" where releases differ) as missing unless CHECK NAME succeeds.
need() {
  "$1" "$2" || missing+=("$3")
}

# Debian keeps system programs out of the path of ordinary users.
PATH=$PATH:/usr/sbin:/sbin

program() { command -v "$1" >/dev/null; }
cni_plugin() { [ -x "/usr/lib/cni/$1" ] || [ -x "/opt/cni/bin/$1" ]; }
postgres_program() { compgen -G "/usr/lib/postgresql/*/bin/$1" >/dev/null || program "$1"; }
libclang() {
  [ -n "${LIBCLANG_PATH:-}" ] || compgen -G "/usr/lib/llvm-*/lib/$1*" >/dev/null ||
    compgen -G "/usr/lib/*-linux-gnu/$1*" >/dev/null || compgen -G "/usr/lib*/$1*" >/dev/null
}

check_build() {
  need program cc build-essential
  need libclang libclang.so libclang-dev
  require_rust
}

check_servers() {
  need postgres_program postgres postgresql
  need postgres_program pg_basebackup postgresql-client
  need program etcd "etcd-server|etcd"
  need program prometheus prometheus
  need program pgbouncer pgbouncer
  need program setpriv util-linux
}

check_node() {
  need program ip iproute2
  need program iptables iptables
  need program containerd containerd
  need program runc runc
  need program dnsmasq dnsmasq-base
  need program openssl openssl
  need program unshare util-linux
  need cni_plugin bridge containernetworking-plugins
}

require_rust() {
  local wanted found
  wanted=$(awk -F'"' '/^rust-version/ { print $2 }' "$here/../../Cargo.toml")
  program cargo || die "Rust $wanted or newer is needed: see https://rustup.rs"
  found=$(rustc --version | awk '{ print $2 }')
  at_least "$wanted" "$found" || die "Rust $wanted or newer is needed, found $found: run 'rustup update stable'"
}

# The first of the alternatives "a|b" that this release has.
candidate() {
  local name
  for name in ${1//|/ }; do
    if apt-cache show "$name" >/dev/null 2>&1; then
      printf '%s\n' "$name"
      return
    fi
  done
  printf '%s\n' "${1%%|*}"
}

retry() {
  local attempt
  for attempt in 1 2 3; do
    "$@" && return
    say "'$*' failed (attempt $attempt of 3)"
    sleep $((attempt * 3))
  done
  return 1
}

# Packages of servers would start them at once, on the usual ports: the tests only want the programs.
without_services() {
  local policy=/usr/sbin/policy-rc.d
  if [ -e "$policy" ]; then
    "$@"
    return
  fi
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
  "$@"
  rm -f "$policy"
}

install() {
  local names=() entry log
  export DEBIAN_FRONTEND=noninteractive
  say "installing: ${missing[*]}"
  retry apt-get -qq update || die "'apt-get update' failed: check the network and /etc/apt"
  log=$(mktemp)
  for entry in "${missing[@]}"; do names+=("$(candidate "$entry")"); done
  without_services retry apt-get -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 install "${names[@]}" >"$log" 2>&1 ||
    die "the packages did not install: $(tail -n 20 "$log")"
  rm -f "$log"
  say "installed: ${names[*]}"
}

[ "$(uname -s)" = Linux ] || die "Linux is needed; this is $(uname -s)"
[ $# -gt 0 ] || set -- build servers node
for group in "$@"; do
  case $group in
  build | servers | node) "check_$group" ;;
  *) die "unknown group '$group': build, servers or node" ;;
  esac
done
[ ${#missing[@]} -gt 0 ] || exit 0

if ! program apt-get; then
  die "missing, under the names that Debian gives them: ${missing[*]}"
elif [ "$(id -u)" -ne 0 ]; then
  names=()
  for entry in "${missing[@]}"; do names+=("$(candidate "$entry")"); done
  die "missing: ${names[*]}
Install them with:
  sudo apt-get update && sudo apt-get install --no-install-recommends ${names[*]}
Only their programs are used: servers that this starts may be stopped, or kept."
fi
install
