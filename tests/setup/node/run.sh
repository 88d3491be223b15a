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

# Directories of cgroups outlive their processes; these are ours by name.
swept() {
  find /sys/fs/cgroup -depth -type d -path '*/whimbrel-node-*' -exec rmdir {} + 2>/dev/null || true
}
trap swept EXIT
swept

# Whoever kills this script kills unshare with it, and that kills all processes in the namespaces.
status=0
setpriv --pdeathsig KILL \
  timeout --foreground --kill-after 5 "${LIMIT:-170}" \
  unshare --net --mount --uts --ipc --pid --fork --mount-proc --kill-child \
  "$here/inside.sh" "$@" || status=$?
[ $status -ne 124 ] || echo "error: not done within ${LIMIT:-170} s" >&2
exit $status
