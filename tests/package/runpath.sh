#!/usr/bin/env bash
# No library is loaded from the current directory: the RUNPATH of every program and library below the folders has no
# empty or relative entries, and a library there with the name of one that the program needs is not loaded.
#
#   tests/package/runpath.sh CASDM FOLDER...
set -euo pipefail

casdm=$(readlink -f "${1:?"usage: tests/package/runpath.sh CASDM FOLDER..."}")
shift
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

count=0
while IFS= read -r -d '' file; do
  [[ $(head -c 4 "$file") == $'\x7fELF' ]] || continue
  count=$((count + 1))
  path=$(readelf -d "$file" | sed -n 's/.*R\(UN\)\?PATH.*\[\(.*\)\]$/\2/p')
  [[ -z $path || ":$path:" != *::* ]] || fail "$file has an empty entry in its RUNPATH: $path"
  while IFS= read -r entry; do
    [[ -z $entry || $entry == /* || $entry == "\$ORIGIN"* ]] || fail "$file has a relative RUNPATH: $path"
  done < <(tr ':' '\n' <<<"$path")
done < <(find "$@" -type f \( -name '*.so' -o -perm -u+x \) -not -path '*/CMakeFiles/*' -print0)
((count > 10)) || fail "only $count programs and libraries below $*"

mapfile -t needed < <(find "$@" -name '*.so' -print0 | xargs -0 readelf -d "$casdm" |
  sed -n 's/.*(NEEDED).*\[\(.*\)\]$/\1/p' | sort -u)
((${#needed[@]} > 5)) || fail "the program needs only ${#needed[@]} libraries"

cd "$scratch"
cc -shared -fPIC -x c -o decoy.so - <<<'#include <unistd.h>
__attribute__((constructor)) static void here() { write(2, "decoy loaded\n", 13); _exit(42); }'
for name in "${needed[@]}"; do cp decoy.so "$name"; done
if LD_LIBRARY_PATH=: "$casdm" --version >/dev/null 2>&1; then fail "the decoys are not loaded where they should be"; fi
"$casdm" --version >/dev/null || fail "a library in the current directory was loaded"
"$casdm" plugins list >/dev/null || fail "a library in the current directory was loaded"
echo "ok: $count files"
