# Shared by the set-up scripts: messages, the cache directory, building Go programs. Sourced, never run.

say() { printf '%s  %s\n' "$(date +%H:%M:%S)" "$*"; }
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

cache_dir() {
  printf '%s\n' "${WHIMBREL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/whimbrel}"
}

# version_of MODULE GO_MOD: the version that a go.mod requires.
version_of() {
  awk -v module="$1" '$1 == "require" && $2 == module { print $3; exit } $1 == module { print $2; exit }' "$2"
}

# at_least WANTED FOUND: whether version FOUND is WANTED or newer.
at_least() {
  [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]
}

require_go() {
  local found
  command -v go >/dev/null ||
    die "Go 1.26 or newer is needed to build $1: see https://go.dev/dl, or set KUBEBUILDER_ASSETS to a directory that has it"
  found=$(go env GOVERSION | sed 's/^go//')
  # Since 1.21 Go fetches a newer toolchain by itself, unless that is switched off.
  at_least 1.26 "$found" || { at_least 1.21 "$found" && [ "$(go env GOTOOLCHAIN)" != local ]; } ||
    die "Go 1.26 or newer is needed to build $1, found $found: see https://go.dev/dl"
}

# build_go DIRECTORY PACKAGE TARGET LDFLAGS: builds once; TARGET appears whole or not at all. A second caller waits.
build_go() {
  local module=$1 package=$2 target=$3 ldflags=$4
  local name=${target##*/} log="$3.log" started pid
  [ -x "$target" ] && return
  mkdir -p "${target%/*}"
  exec 9>"${target%/*}/.lock"
  if ! flock --nonblock 9; then
    say "$name: another build is running, waiting for it"
    flock 9
  fi
  if [ ! -x "$target" ]; then
    require_go "$name"
    say "$name: building from source, once (minutes on a small machine)"
    started=$SECONDS
    # The compiler collects garbage less often: a quarter of the time for some 300 MB more.
    (cd "$module" && GOGC=${GOGC:-400} CGO_ENABLED=${CGO_ENABLED:-0} exec go build -mod=readonly -buildvcs=false -trimpath -ldflags "$ldflags" -o "$target.part" "$package") \
      >"$log" 2>&1 9>&- &
    pid=$!
    progress "$pid" "$name" "$started" 9>&- &
    wait "$pid" || die "$name did not build: $(tail -n 20 "$log")"
    mv "$target.part" "$target"
    rm -f "$log"
    say "$name: built in $((SECONDS - started)) s"
  fi
  exec 9>&-
}

# progress PID NAME STARTED: a line now and then while the process runs.
progress() {
  local tick=0
  while sleep 1 && kill -0 "$1" 2>/dev/null; do
    tick=$((tick + 1))
    [ $((tick % 20)) -ne 0 ] || say "$2: still building, $((SECONDS - $3)) s"
  done
}
