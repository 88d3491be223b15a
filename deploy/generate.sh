#!/usr/bin/env bash
# Derives what is shipped from crds/ and from the chart: the chart's copy of the definitions, and the kustomize base.
#
#   generate.sh            writes
#   generate.sh --check    writes nothing; fails where something differs
#
# HELM names the Helm program; `helm` by default.
set -euo pipefail
cd "$(dirname "$0")/.."

helm=${HELM:-helm}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

mkdir -p "$out/charts/whimbrel" "$out/deploy"
cp -r charts/whimbrel/. "$out/charts/whimbrel"
rm -rf "$out/charts/whimbrel/files/crds"
mkdir -p "$out/charts/whimbrel/files/crds" "$out/deploy/base"
cp crds/*.yaml "$out/charts/whimbrel/files/crds/"

# The base is the chart with its defaults, without what only Helm needs.
"$helm" template whimbrel "$out/charts/whimbrel" --namespace whimbrel-system --kube-version 1.34 --set crds.install=false |
  sed -e '/^# Source: /d' -e '/helm\.sh\/chart: /d' -e '/app\.kubernetes\.io\/managed-by: /d' \
    >"$out/deploy/base/operator.yaml"
for file in crds/*.yaml; do
  printf -- '---\n'
  cat "$file"
done >"$out/deploy/base/crds.yaml"

generated=(charts/whimbrel/files/crds deploy/base/operator.yaml deploy/base/crds.yaml)
for path in "${generated[@]}"; do
  if [ "${1:-}" = --check ]; then
    diff -r "$path" "$out/$path" || {
      echo "error: $path is not what crds/ and charts/ give: run 'make generate'" >&2
      exit 1
    }
  else
    rm -rf "$path"
    mkdir -p "$(dirname "$path")"
    cp -r "$out/$path" "$path"
  fi
done
