#!/usr/bin/env bash
# Makes golang-migrate available, for `make bench`: built once from the pinned Go module beside this script into the cache.
# Silent when there is nothing to do.
#
#   migrate.sh [--path]     --path: prints where it is
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

version=$(version_of github.com/golang-migrate/migrate/v4 "$here/migrate/go.mod")
migrate=$(cache_dir)/migrate-$version/migrate
# Each database has a driver behind a tag; without one there is none.
GOFLAGS="${GOFLAGS:-} -tags=postgres" build_go "$here/migrate" github.com/golang-migrate/migrate/v4/cmd/migrate "$migrate" \
  "-s -w -X main.Version=${version#v}" >&2
[ "${1:-}" != --path ] || printf '%s\n' "$migrate"
