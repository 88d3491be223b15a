#!/usr/bin/env bash
# Makes the operator's image without a container engine: a static binary, packed as an archive that `docker load`,
# `podman load` and `ctr images import` take. The same sources give the same bytes.
#
#   build.sh [ARCHIVE]     default: image/whimbrel-VERSION-ARCH.tar below the target directory
#
# BINARY packs that program instead of building one. TAG names the image; whimbrel:VERSION by default.
set -euo pipefail
cd "$(dirname "$0")/../.."

limit=$((25 * 1024 * 1024))
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
tag=${TAG:-whimbrel:$version}
case $(uname -m) in
x86_64) arch=amd64 ;;
aarch64) arch=arm64 ;;
*) arch=$(uname -m) ;;
esac
archive=${1:-${CARGO_TARGET_DIR:-target}/image/whimbrel-$version-$arch.tar}

build() {
  # The host's own target, named, so that the flag does not reach build scripts and macros.
  local target
  target=$(rustc -vV | sed -n 's/^host: //p')
  RUSTFLAGS="-C target-feature=+crt-static" \
    cargo rustc --locked --release --bin whimbrel --target "$target" -- $(packed)
  binary=${CARGO_TARGET_DIR:-target}/$target/release/whimbrel
}

# Relocations take 1.3 MB unless they are packed. The start-up code of a static program understands that from glibc 2.36 on.
packed() {
  local glibc
  glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null | sed -n 's/^glibc //p')
  [ "$(printf '%s\n' 2.36 "${glibc:-0}" | sort -V | head -n 1)" != 2.36 ] ||
    echo "-C link-arg=-Wl,-z,pack-relative-relocs"
}

# The public authorities, for databases and Prometheus servers without a private one.
authorities() {
  local file
  for file in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem; do
    [ ! -s "$file" ] || { printf '%s\n' "$file"; return; }
  done
  echo "error: no bundle of certificate authorities found: install the package ca-certificates" >&2
  return 1
}

# pack DIRECTORY ARCHIVE OWNER: the same files give the same bytes.
pack() {
  tar --create --file "$2" --directory "$1" --sort=name --mtime=@0 --owner="$3" --group="$3" --numeric-owner \
    --format=gnu --mode=a+rX,go-w .
}

digest() { sha256sum "$1" | cut -d ' ' -f 1; }

binary=${BINARY:-}
if [ -z "$binary" ]; then
  build
  "$binary" version
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mkdir -p "$work/root/etc/ssl/certs" "$work/image" "$(dirname "$archive")"
install --mode=0755 "$binary" "$work/root/whimbrel"
install --mode=0644 "$(authorities)" "$work/root/etc/ssl/certs/ca-certificates.crt"
pack "$work/root" "$work/layer.tar" 65532
layer=$(digest "$work/layer.tar")
mv "$work/layer.tar" "$work/image/$layer.tar"

cat >"$work/config.json" <<JSON
{"architecture":"$arch","os":"linux","created":"1970-01-01T00:00:00Z","config":{"User":"65532:65532","Entrypoint":["/whimbrel"],"ExposedPorts":{"8080/tcp":{}},"Labels":{"org.opencontainers.image.title":"whimbrel","org.opencontainers.image.version":"$version","org.opencontainers.image.licenses":"Apache-2.0"}},"rootfs":{"type":"layers","diff_ids":["sha256:$layer"]},"history":[{"created":"1970-01-01T00:00:00Z","created_by":"deploy/image/build.sh"}]}
JSON
config=$(digest "$work/config.json")
mv "$work/config.json" "$work/image/$config.json"
printf '[{"Config":"%s.json","RepoTags":["%s"],"Layers":["%s.tar"]}]\n' "$config" "$tag" "$layer" \
  >"$work/image/manifest.json"
pack "$work/image" "$archive" 0

size=$(stat --format=%s "$archive")
printf '%s  %s  %d.%d MB  sha256:%s\n' "$archive" "$tag" $((size / 1048576)) $((size % 1048576 * 10 / 1048576)) "$config"
if [ "$size" -gt "$limit" ]; then
  echo "error: the image is larger than 25 MB" >&2
  exit 1
fi
