#!/usr/bin/env bash
# Prints where short-lived servers keep their data: in memory where there is enough of it, since thousands of databases are
# made and removed; else where temporary files are.
set -euo pipefail
enough=$((4 * 1024 * 1024))
free=$(df --output=avail /dev/shm 2>/dev/null | tail -n 1 || true)
if [ -w /dev/shm ] && [ "${free:-0}" -ge $enough ]; then
  echo /dev/shm
else
  echo "${TMPDIR:-/tmp}"
fi
