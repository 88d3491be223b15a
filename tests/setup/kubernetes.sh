#!/usr/bin/env bash
# Makes Kubernetes programs available: from KUBEBUILDER_ASSETS, else built once from the pinned Go module beside this
# script into the cache. Silent when there is nothing to do.
#
#   kubernetes.sh                  kube-apiserver and kubectl
#   kubernetes.sh PROGRAM...       those
#   kubernetes.sh all              everything that a node needs
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

version=$(version_of k8s.io/kubernetes "$here/kubernetes/go.mod")
directory=$(cache_dir)/kubernetes-$version

programs=("$@")
[ $# -gt 0 ] || programs=(kube-apiserver kubectl)
[ "${programs[0]}" != all ] ||
  programs=(kube-apiserver kubectl kube-controller-manager kube-scheduler kubelet kube-proxy)

for program in "${programs[@]}"; do
  [ -n "${KUBEBUILDER_ASSETS:-}" ] && [ -x "$KUBEBUILDER_ASSETS/$program" ] && continue
  # Without a version the server calls itself v0.0.0-master, which charts with a kubeVersion refuse.
  build_go "$here/kubernetes" "k8s.io/kubernetes/cmd/$program" "$directory/$program" \
    "-s -w -X k8s.io/component-base/version.gitVersion=$version"
done
