#!/usr/bin/env bash
# Called by cargo instead of rustc: counts the edges of our own crates and traces what they compare, as cargo-fuzz does, with
# what a stable compiler has. Dependencies are compiled as they are.
rustc=$1
shift
case " $* " in
  *" --crate-name whimbrel "* | *" --crate-name split "*)
    set -- "$@" --cfg fuzzing -Cpasses=sancov-module
    for option in level=4 inline-8bit-counters pc-table trace-compares; do
      set -- "$@" "-Cllvm-args=-sanitizer-coverage-$option"
    done
    ;;
esac
exec "$rustc" "$@"
