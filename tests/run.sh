#!/usr/bin/env bash
# Runs all tests and ends with a summary; `make test` runs this. A stage that fails does not hide the later ones.
set -uo pipefail
cd "$(dirname "$0")/.."
. tests/setup/lib.sh

export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-auto}
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
summary=()
failed=0

# stage NAME COMMAND...: runs it, shows its output, notes how it went.
stage() {
  local name=$1 started=${began:-$SECONDS} result=passed
  shift
  printf '\n== %s\n' "$name"
  "$@" 2>&1 | tee "$logs/stage" || result=FAILED
  grep -q 'NOT RUN' "$logs/stage" && result='not run'
  [ "$result" != FAILED ] || failed=1
  summary+=("$(printf '%-22s %-8s %5d s  %s' "$name" "$result" $((SECONDS - started)) "$(detail)")")
  [ "$result" != FAILED ]
}

# beside COMMAND...: begins a stage that runs while others do; `joined NAME` waits for it and shows its output.
beside() {
  beside_since=$SECONDS
  "$@" >"$logs/beside" 2>&1 &
  beside_pid=$!
}

joined() {
  local code=0
  wait "$beside_pid" || code=$?
  began=$beside_since stage "$1" shown "$code"
}

shown() {
  cat "$logs/beside"
  return "$1"
}

# How many tests ran, or why none did.
detail() {
  awk '/^test result:/ { passed += $4; failed += $6; any = 1 }
       /^(runs|violations) / { said = said (said ? "; " : "") $0 }
       /NOT RUN/ { sub(/.*NOT RUN: */, ""); print; exit }
       END { if (said) { gsub(/ +/, " ", said); print said } else if (any) printf "%d passed, %d failed\n", passed, failed }' "$logs/stage"
}

set_up() {
  tests/setup/packages.sh build servers && tests/setup/kubernetes.sh && tests/setup/target.sh
}

finish() {
  printf '\n== summary\n'
  printf '%s\n' "${summary[@]}"
  if [ $failed -eq 0 ]; then
    echo "all tests passed in $SECONDS s"
  else
    echo "tests FAILED after $SECONDS s"
  fi
  exit $failed
}

stage "set-up" set_up || finish
stage "build" cargo test --locked --no-run || finish
stage "unit" cargo test --locked --quiet --lib --bins
# Most of these tests wait for a server: more of them than cores run at once.
stage "integration" env RUST_TEST_THREADS="${RUST_TEST_THREADS:-8}" cargo test --locked --test it
# Samples of the matrices, side by side because both wait most of the time; `make crash` and `make crash-cluster` play all.
crash() {
  TMPDIR="$(tests/setup/scratch.sh)" RUST_BACKTRACE=0 cargo test --locked --features crash-points --test crash -- "$@"
}
stage "build with points" cargo test --locked --no-run --features crash-points --test crash || finish
beside crash cluster --runs 24 --workers 4
stage "crashes" crash matrix --runs 300 --workers 6
joined "cluster faults"
stage "documentation" cargo test --locked --quiet --doc
[ ! -x tests/e2e.sh ] || stage "whole node" tests/e2e.sh
finish
