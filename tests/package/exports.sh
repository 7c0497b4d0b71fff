#!/usr/bin/env bash
# The libraries of casdm export only casdm's own names, so no library inside them (JSON, TOML, command-line options) can
# collide with another copy of itself in a program or plugin.
#
#   tests/package/exports.sh FOLDER      of libcasdm_*.so
set -euo pipefail

folder=${1:?"usage: tests/package/exports.sh FOLDER"}
declare -A exported=()
for library in "$folder"/libcasdm_*.so; do
  names=$(nm --dynamic --defined-only --demangle "$library" | cut -d ' ' -f 3-)
  exported[$(basename "$library" .so)]=$(wc -l <<<"$names")
  if others=$(grep -vE '^((vtable|VTT|typeinfo|typeinfo name|guard variable) for |(non-virtual|virtual) thunk to )?casdm::|^casdm_' <<<"$names"); then
    echo "FAILED: $library exports $(wc -l <<<"$others") names that are not casdm's:" >&2
    head -n 10 <<<"$others" >&2
    exit 1
  fi
done
for library in libcasdm_core libcasdm_sdk libcasdm_host libcasdm_framework; do
  ((${exported[$library]:-0} > 20)) || { echo "FAILED: $library exports ${exported[$library]:-nothing}" >&2 && exit 1; }
done
echo "ok: $(for library in "${!exported[@]}"; do echo "$library ${exported[$library]}"; done | sort | tr '\n' ' ')"
