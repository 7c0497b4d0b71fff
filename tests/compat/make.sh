#!/usr/bin/env bash
# Makes run/ and plugin.so of tests/compat/VERSION, of which experiment.toml is there, with the program of this version.
#
#   tests/compat/make.sh BUILD     BUILD is a build folder of casdm, in which casdm_all is built
set -euo pipefail

build=$(cd "${1:?"usage: tests/compat/make.sh BUILD"}" && pwd)
version=$("$build/bin/casdm" --version)
folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/${version#casdm }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
if [[ -e $folder/run || -e $folder/plugin.so ]]; then
  echo "make.sh: what $version wrote is kept in $folder already" >&2
  exit 1
fi
cd "$scratch"
CASDM_PLUGIN_PATH='' "$build/bin/casdm" train "$folder/experiment.toml"
rm -f runs/old/.lock
mv runs/old "$folder/run"
strip -o "$folder/plugin.so" "$build/lib/casdm/plugins/metric_ssim.so"
# LibTorch's headers bring names of folders of this machine: replaced by as many other characters.
torch=$(sed -n 's|^set(_casdm_libtorch "\(.*\)/lib/python.*")$|\1|p' "$build/sdk/casdmLibTorch.cmake")
LC_ALL=C sed -i "s|$torch|/LibTorch$(printf '%*s' $((${#torch} - 9)) '' | tr ' ' -)|g" "$folder/plugin.so"
