#!/usr/bin/env bash
# tools/setup.sh, run in a folder with Python files of the names that it imports: none of them may run. No package is
# fetched or installed.
set -euo pipefail

if [[ -z ${IS_ALONE:-} ]]; then exec env -i HOME="$HOME" PATH="$PATH" IS_ALONE=1 bash "$0" "$@"; fi

source=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
if ! python3 -I -c 'import ensurepip' 2>/dev/null; then
  echo "skipped: python3 has no ensurepip (Debian: python3-venv)"
  exit 77
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# shellcheck source=tests/package/common.sh
source "$source/tests/package/common.sh"

mkdir "$scratch/strange" "$scratch/bin"
for module in csv email ensurepip json pip venv zipfile; do
  echo "raise SystemExit(open('$scratch/has_run', 'a').write('$module '))" >"$scratch/strange/$module.py"
done
printf '#!/bin/sh\necho ii\n' >"$scratch/bin/dpkg-query" # every Debian package is there
chmod +x "$scratch/bin/dpkg-query"
export PATH=$scratch/bin:$PATH CASDM_CACHE=$scratch/cache PIP_NO_INDEX=1
cd "$scratch/strange"

for option in "" --check ""; do
  refused "MISSING: LibTorch" "MISSING: more wheels" -- bash "$source/tools/setup.sh" --cpu --packages $option
  [[ ! -e $scratch/has_run ]] || fail "setup.sh $option ran of the working directory: $(cat "$scratch/has_run")"
done
compgen -G "$scratch/cache/venv-*/bin/pip" >/dev/null || fail "there is no virtual environment with pip"
