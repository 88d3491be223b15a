#!/usr/bin/env bash
# Fuzzes what reads SQL, with libFuzzer and the stable compiler, for a number of seconds; what it finds stands in
# `$CARGO_TARGET_DIR/fuzz/found`. New inputs are kept beside it, so that the next run goes on from there.
#
#   fuzz.sh [SECONDS]
set -euo pipefail
cd "$(dirname "$0")/.."

tests/setup/packages.sh build
tests/setup/target.sh
target=${CARGO_TARGET_DIR:-$PWD/target}/fuzz
mkdir -p "$target/corpus" "$target/found"

CARGO_TARGET_DIR=$target RUSTC_WRAPPER=$PWD/tests/fuzz/instrument.sh \
  cargo build --locked --manifest-path tests/fuzz/Cargo.toml

exec "$target/debug/split" "$target/corpus" tests/fuzz/seeds -dict=tests/fuzz/sql.dict -artifact_prefix="$target/found/" \
  -max_total_time="${1:-60}" -max_len=4096 -timeout=20 -rss_limit_mb=4096 -print_final_stats=1
