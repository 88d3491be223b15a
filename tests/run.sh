#!/usr/bin/env bash
# Runs all tests and ends with a summary; `make test` runs this. A stage that fails does not hide the later ones.
set -uo pipefail
cd "$(dirname "$0")/.."
. tests/setup/lib.sh

export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-auto}
logs=$(mktemp -d)
trap 'kill "${pids[@]}" 2>/dev/null; rm -rf "$logs"' EXIT
declare -A since pids
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

# beside NAME COMMAND...: begins a stage that runs while others do; `joined NAME` waits for it and shows its output.
beside() {
  local name=$1
  shift
  since[$name]=$SECONDS
  "$@" >"$logs/$name" 2>&1 &
  pids[$name]=$!
}

joined() {
  local code=0
  wait "${pids[$1]}" || code=$?
  unset "pids[$1]"
  began=${since[$1]} stage "$1" shown "$code" "$logs/$1"
}

shown() {
  cat "$2"
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
  tests/setup/packages.sh build servers && tests/setup/target.sh
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
beside "Kubernetes" tests/setup/kubernetes.sh
stage "build" cargo test --locked --no-run || finish
joined "Kubernetes" || finish
# Takes only what the tests leave: they wait for much of their time.
beside "image and node" nice -n 19 tests/e2e.sh prepare
stage "unit" cargo test --locked --quiet --lib --bins
# Most of these tests wait for a server: more of them than cores run at once.
stage "integration" env RUST_TEST_THREADS="${RUST_TEST_THREADS:-8}" cargo test --locked --test it
# Samples of the matrices, side by side because both wait most of the time; `make crash` and `make crash-cluster` play all.
crash() {
  TMPDIR="$(tests/setup/scratch.sh)" RUST_BACKTRACE=0 cargo test --locked --features crash-points --test crash -- "$@"
}
stage "build with points" cargo test --locked --no-run --features crash-points --test crash || finish
beside "cluster faults" crash cluster --runs 24 --workers 4
stage "crashes" crash matrix --runs 300 --workers 6
joined "cluster faults"
stage "documentation" cargo test --locked --quiet --doc
joined "image and node" && stage "whole node" tests/e2e.sh
finish
