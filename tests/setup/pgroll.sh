#!/usr/bin/env bash
# Makes pgroll available, for `make bench` and `make bench-backfill`: built once from the pinned Go module beside this script into the cache.
# Silent when there is nothing to do.
#
#   pgroll.sh [--path]     --path: prints where it is
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

version=$(version_of github.com/xataio/pgroll "$here/pgroll/go.mod")
pgroll=$(cache_dir)/pgroll-$version/pgroll
# It has PostgreSQL's parser in it, which is C.
CGO_ENABLED=1 build_go "$here/pgroll" github.com/xataio/pgroll "$pgroll" "-s -w -X github.com/xataio/pgroll/cmd.Version=$version" >&2
[ "${1:-}" != --path ] || printf '%s\n' "$pgroll"
