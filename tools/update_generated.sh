#!/usr/bin/env bash
# Writes the files that are generated from the schemas: docs/reference/ and configs/casdm.schema.json. See --help.
set -euo pipefail

if [[ ${1:-} == --help || ${1:-} == -h ]]; then
  cat <<'TEXT'
Usage: tools/update_generated.sh [--check] [BUILD]

Asks the program of the build folder BUILD (default: build/release) about the plugins beside it, and
writes docs/reference/, configs/casdm.schema.json and configs/sweep.schema.json. Run it when a schema or a plugin has changed.

  --check    write nothing; show what differs and exit with status 1 when something does
TEXT
  exit 0
fi

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
check_only=false
if [[ ${1:-} == --check ]]; then check_only=true && shift; fi
build=${1:-$root/build/release}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
unset CASDM_PLUGIN_PATH
export XDG_DATA_HOME=$scratch/none # only the program's own plugins

"$build/bin/casdm" config reference --out "$scratch/reference" 2>/dev/null
"$build/bin/casdm" config schema >"$scratch/casdm.schema.json"
"$build/bin/casdm" config schema --sweep >"$scratch/sweep.schema.json"

if $check_only; then
  status=0
  diff -ruN "$root/docs/reference" "$scratch/reference" >"$scratch/diff" || status=1
  for schema in casdm sweep; do
    diff -u "$root/configs/$schema.schema.json" "$scratch/$schema.schema.json" >>"$scratch/diff" || status=1
  done
  head -n 100 "$scratch/diff"
  if ((status != 0)); then
    echo "generated files differ from what the program tells; run tools/update_generated.sh" >&2
  fi
  exit "$status"
fi
mkdir -p "$root/docs/reference"
rm -f "$root/docs/reference/"*.md
cp "$scratch/reference/"*.md "$root/docs/reference/"
cp "$scratch/casdm.schema.json" "$scratch/sweep.schema.json" "$root/configs/"
echo "wrote docs/reference/, configs/casdm.schema.json and configs/sweep.schema.json"
