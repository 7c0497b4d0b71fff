#!/usr/bin/env bash
# Each public header of the SDK must compile alone, without a warning, and include no more of LibTorch than
# ATen/core/Tensor.h, ATen/core/Generator.h and the version macros: authors pay for every header in every file.
# torch_nn.h is for those who use torch::nn anyway.
#
#   tests/sdk/headers_alone.sh COMPILER SDK_INCLUDE BUILD_INCLUDE TORCH_INCLUDE
set -euo pipefail

export compiler=$1 sdk=$2 build=$3 torch=$4
scratch=$(mktemp -d)
export scratch
trap 'rm -rf "$scratch"' EXIT

# compile NAME OPTIONS HEADER...: compiles a file that includes the headers; all files it includes go to NAME.includes.
compile() {
  local name=$1 options=$2 header
  shift 2
  for header in "$@"; do echo "#include <$header>"; done >"$scratch/$name.cpp"
  # shellcheck disable=SC2086  # several options
  "$compiler" -std=c++20 -Wall -Wextra -Werror -Wno-unused-parameter -Winvalid-pch $options -MD -MF "$scratch/$name.d" \
    -I "$sdk" -I "$build" -isystem "$torch" -isystem "$torch/torch/csrc/api/include" "$scratch/$name.cpp" || return 1
  tr -s ' \\\n' '\n' <"$scratch/$name.d" | sort -u >"$scratch/$name.includes"
}

# check HEADER: the header alone; prints nothing if all is well.
check() {
  local name more options=-fsyntax-only
  name=$(basename "$1" .h)
  if grep -qxF "$name" "$scratch/with_tensor"; then options+=" -include $scratch/tensor.h"; fi
  compile "$name" "$options" "casdm/$name.h" || { echo "FAILED: casdm/$name.h does not compile alone" && return 1; }
  [[ $name == torch_nn ]] && return 0
  more=$(comm -23 "$scratch/$name.includes" "$scratch/allowed.includes" |
    grep -F -e "$torch/" -e /usr/include/nlohmann -e /usr/include/boost) || return 0
  echo "FAILED: casdm/$name.h includes more than ATen/core/Tensor.h brings: $(head -n 3 <<<"$more" | tr '\n' ' ')"
  return 1
}
export -f compile check

# Headers that include ATen/core/Tensor.h, themselves or by others, take it from a precompiled one: as all includes come
# before everything else, this makes no difference but in time.
count=0 names=()
grep -l '#include <ATen/core/Tensor.h>' "$sdk"/casdm/*.h | xargs -n 1 basename -s .h >"$scratch/with_tensor"
while ((count < $(wc -l <"$scratch/with_tensor"))); do
  mapfile -t names <"$scratch/with_tensor"
  count=${#names[@]}
  { printf '%s\n' "${names[@]}" && grep -lE "#include \"casdm/($(IFS='|' && echo "${names[*]}"))\.h\"" "$sdk"/casdm/*.h |
    xargs -n 1 basename -s .h; } | sort -u >"$scratch/with_tensor"
done

compile allowed -fsyntax-only ATen/core/Tensor.h ATen/core/Generator.h torch/headeronly/version.h
: >"$scratch/tensor.h"
compile tensor "-x c++-header -o $scratch/tensor.h.gch" ATen/core/Tensor.h
# shellcheck disable=SC2016  # for the inner shell
find "$sdk/casdm" -name '*.h' -print0 | xargs -0 -n 1 -P 2 bash -c 'check "$1"' _
echo "headers: $(find "$sdk/casdm" -name '*.h' | wc -l) compile alone"
