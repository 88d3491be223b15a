#!/usr/bin/env bash
# Runs a command beside a whole Kubernetes node: etcd, API server, controller manager, scheduler, containerd, kubelet,
# kube-proxy, DNS. Everything lives in network, mount and process namespaces of its own and on a tmpfs, so nothing of
# the host is touched, and all of it is gone when the command ends or this script is killed.
#
#   run.sh COMMAND [ARGUMENT...]     needs root; tests/setup/node/possible.sh says whether it can work
#
# The command finds KUBECONFIG, NODE_IP (an address that Pods reach), NODE_DIR (scratch space) and a PATH with kubectl,
# helm and ctr. LIMIT bounds the time, in seconds.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

[ $# -gt 0 ] || { echo "usage: run.sh COMMAND [ARGUMENT...]" >&2; exit 2; }

# Ends with whoever started it, even when that was killed.
[ -n "${NODE_BOUND:-}" ] || NODE_BOUND=1 exec setpriv --pdeathsig KILL "$0" "$@"
. "$here/../lib.sh"

# Cgroups outlive their processes. The empty ones that a run left, this one or one that was killed, are those made since
# its marker; a cgroup in use cannot be removed.
marker=$(cache_dir)/node-started
sweep() {
  [ -e "$marker" ] || return 0
  find /sys/fs/cgroup -depth -type d -path '*/k8s.io/*' -newer "$marker" -exec rmdir {} + 2>/dev/null || true
  rm -f "$marker"
}
sweep
trap sweep EXIT
touch "$marker"

# Each of the chain dies with the one before it; with the first process of the namespaces die all in them.
bound="setpriv --pdeathsig KILL"
$bound timeout --foreground --signal KILL "${LIMIT:-170}" \
  $bound unshare --net --mount --uts --ipc --pid --fork --mount-proc --kill-child "$here/inside.sh" "$@" &
child=$!
trap 'kill -KILL "$child"' INT TERM
status=0
wait "$child" || status=$?
[ $status -ne 137 ] || echo "error: ended from outside, or not done within ${LIMIT:-170} s" >&2
exit $status
