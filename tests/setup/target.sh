#!/usr/bin/env bash
# Makes a shared target directory safe for this checkout. Cargo tells the files of two checkouts apart only by their
# times, so that what another checkout built could pass for ours; then our own crate is built again, the dependencies
# are not.
set -euo pipefail
cd "$(dirname "$0")/../.."

target=${CARGO_TARGET_DIR:-target}
stamp=$target/.checkout
mkdir -p "$target"
if [ -e "$stamp" ] && [ "$(cat "$stamp")" != "$PWD" ]; then
  cargo clean --quiet --locked --package whimbrel
fi
printf '%s\n' "$PWD" >"$stamp"
