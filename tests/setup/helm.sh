#!/usr/bin/env bash
# Makes Helm available: built once from the pinned Go module beside this script into the cache. Silent when there is
# nothing to do.
#
#   helm.sh [--path]     --path: prints where it is
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

version=$(version_of helm.sh/helm/v4 "$here/helm/go.mod")
helm=$(cache_dir)/helm-$version/helm
build_go "$here/helm" helm.sh/helm/v4/cmd/helm "$helm" "-s -w -X helm.sh/helm/v4/internal/version.version=$version" >&2
[ "${1:-}" != --path ] || printf '%s\n' "$helm"
