#!/usr/bin/env bash
# Says whether a node can run here. Prints the reason and fails when not.
#
# Leaves out what needs programs that are not installed; ask again after tests/setup/packages.sh node.
set -u
no() {
  echo "$*"
  exit 1
}
[ "$(uname -s)" = Linux ] || no "a node needs Linux; this is $(uname -s)"
[ "$(id -u)" -eq 0 ] || no "a node needs root (or a root shell in a virtual machine)"
unshare --net --mount --uts --ipc --pid --fork --mount-proc true 2>/dev/null ||
  no "the kernel refuses new namespaces (an unprivileged container?)"
unshare --mount sh -c 'mount -t tmpfs tmpfs /run && mkdir /run/a /run/b /run/c /run/d &&
  mount -t overlay overlay -o lowerdir=/run/a,upperdir=/run/b,workdir=/run/c /run/d' 2>/dev/null ||
  no "the kernel refuses overlay mounts"
[ -w /sys/fs/cgroup ] || no "cgroups are read-only here"
# The programs for the rest may not be installed yet.
PATH=$PATH:/usr/sbin:/sbin
if command -v ip >/dev/null && command -v iptables >/dev/null; then
  unshare --net sh -c 'ip link add probe type bridge' 2>/dev/null || no "the kernel has no bridge devices"
  unshare --net sh -c 'iptables -t nat -n -L' >/dev/null 2>&1 || no "iptables cannot work here"
fi
