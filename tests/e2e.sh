#!/usr/bin/env bash
# Tries the product as it is shipped: the image, the chart and the samples on a whole Kubernetes node with a real
# PostgreSQL primary and its writable copy. `make e2e` runs this.
#
#   e2e.sh            tries it; what is missing is made first
#   e2e.sh prepare    only makes what is missing
#
# IMAGE names an archive of the image; without, it is built.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/setup/lib.sh

possible() {
  local reason
  reason=$(tests/setup/node/possible.sh) && return
  say "e2e: NOT RUN: $reason"
  exit 0
}

possible
tests/setup/packages.sh build servers node
possible
tests/setup/kubernetes.sh all
tests/setup/helm.sh
if [ -z "${IMAGE:-}" ]; then
  IMAGE=${CARGO_TARGET_DIR:-$PWD/target}/image/whimbrel.tar
  deploy/image/build.sh "$IMAGE"
fi
export IMAGE
[ "${1:-}" != prepare ] || exit 0
exec tests/setup/node/run.sh tests/e2e/checks.sh
