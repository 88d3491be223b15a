#!/usr/bin/env bash
# Runs the forms of tests/it/truth, and the derived ways back, on each major version of PostgreSQL that is to be had.
#
#   truth.sh [--write] [MAJOR...]     --write: prints every measurement, and writes docs/locks.md
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/setup/lib.sh

write=
[ "${1:-}" != --write ] || { write=1 && shift; }
majors=("$@")
[ $# -gt 0 ] || majors=(14 15 16 17 18)

tests/setup/packages.sh build servers
tests/setup/target.sh
cargo test --locked --quiet --test it --no-run
records=${CARGO_TARGET_DIR:-target}/truth
log=$(mktemp)
trap 'rm -f "$log"' EXIT
[ -z "$write" ] || rm -rf "$records"

failed=0
summary=()
for major in "${majors[@]}"; do
  programs=$(tests/setup/majors.sh "$major")
  if [ -z "$programs" ]; then
    summary+=("PostgreSQL $major: not to be had here, not verified")
    continue
  fi
  export WHIMBREL_TEST_POSTGRES=$programs
  [ -z "$write" ] || export WHIMBREL_TRUTH=$records
  if ! RUST_BACKTRACE=0 cargo test --locked --quiet --test it -- truth:: sql_before:: sql_inverse:: --nocapture >"$log" 2>&1; then
    failed=1
  fi
  cat "$log"
  summary+=("$(grep -m 1 'forms measured' "$log" || echo "PostgreSQL $major: FAILED, see above")")
done

printf '\n== summary\n'
printf '%s\n' "${summary[@]}"
exit $failed
