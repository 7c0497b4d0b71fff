#!/usr/bin/env bash
# Makes an installed prefix fit for other machines: LibTorch is looked for in another place than here.
#
#   tools/relocate.sh PREFIX PATCHELF PLACE
#
# PLACE, which begins with $ORIGIN, takes the place of the absolute folders in the RUNPATH of each program and library.
set -euo pipefail

prefix=${1:?"usage: tools/relocate.sh PREFIX PATCHELF PLACE"}
patchelf=${2:?"tools/relocate.sh needs patchelf"}
place=${3:?"tools/relocate.sh needs the place of LibTorch"}
count=0
while IFS= read -r -d '' file; do
  [[ $(head -c 4 "$file") == $'\x7fELF' ]] || continue
  runpath=$("$patchelf" --print-rpath "$file")
  relocated=$(tr ':' '\n' <<<"$runpath" | sed "s|^/.*|$place|" | awk '!seen[$0]++' | paste -sd :)
  [[ $relocated != "$runpath" ]] || continue
  "$patchelf" --set-rpath "$relocated" "$file"
  count=$((count + 1))
done < <(find "$prefix" -type f \( -name '*.so' -o -perm -u+x \) -print0)

# The CMake package, in lib/cmake/casdm, looks there too.
config=$prefix/lib/cmake/casdm/casdmLibTorch.cmake
folder=${place#\$ORIGIN/}
if [[ -f $config ]]; then
  echo "get_filename_component(_casdm_libtorch \"\${CMAKE_CURRENT_LIST_DIR}/../../${folder%/lib}\" REALPATH)" >"$config"
  count=$((count + 1))
fi
((count > 0)) || { echo "relocate: nothing below $prefix names a LibTorch" >&2 && exit 1; }
