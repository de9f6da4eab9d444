#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# exported_symbols.sh LIBRARY NM NATIVE: the symbols that the library exports are exactly those registered for the interface. Its parallel regions begin in
# one way, the one that native/src/parallel_region.cpp takes over.
set -eu
exported=$("$2" -D --defined-only "$1" | awk '$2 == "T" || $2 == "B" || $2 == "D" {print $3}' | sort)
registered=$(grep -rhoE '^GATUN_ABI_FUNCTION\([a-z0-9_]+\)' "$3/src" | sed 's/.*(\(.*\))/\1/' | sort)
if [ "$exported" != "$registered" ]; then
  echo "exported and registered functions differ:"
  printf "%s\n" "$exported" > "$1.exported"
  printf '%s\n' "$registered" | diff "$1.exported" - || true
  exit 1
fi
if "$2" -D --undefined-only "$1" | grep 'GOMP_parallel_'; then
  echo "a combined loop begins a parallel region of its own kind: write the loop inside \`omp parallel\`"
  exit 1
fi
echo "$(printf '%s\n' "$exported" | wc -l) functions"
