#!/usr/bin/env bash
# The wheel: made of a build, installed in a virtual environment of its own, and used there.
#
#   tests/package/wheel.sh BUILD     BUILD is a build folder of casdm in which everything is built
set -euo pipefail

if [[ -z ${IS_ALONE:-} ]]; then exec env -i HOME="$HOME" PATH="$PATH" IS_ALONE=1 bash "$0" "$@"; fi

build=$(cd "${1:?"usage: tests/package/wheel.sh BUILD"}" && pwd)
source=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# shellcheck source=tests/package/common.sh
source "$source/tests/package/common.sh"
torch=$(sed -n 's/^set(_casdm_libtorch "\(.*\)")$/\1/p' "$build/sdk/casdmLibTorch.cmake")
release=$(sed -n "s/^__version__ = '\([0-9.]*\).*/\1/p" "$torch/version.py")
minor=${release%.*}
export XDG_STATE_HOME=$scratch/state

# environment NAME TORCH: a virtual environment with the wheel, and the folder TORCH as its torch.
environment() {
  quietly python3 -m venv "$scratch/$1"
  site=$(echo "$scratch/$1"/lib/python3*/site-packages)
  if [[ -n $2 ]]; then ln -s "$2" "$site/torch"; fi
  quietly "$scratch/$1/bin/pip" install --no-deps --no-index --disable-pip-version-check "$wheel"
  casdm=$scratch/$1/bin/casdm
}

make_wheel() {
  local found
  "$source/tools/wheel.sh" --build "$build" --out "$scratch/wheels" >"$scratch/name"
  wheel=$(cat "$scratch/name")
  [[ -f $wheel && $(find "$scratch/wheels" -type f | wc -l) == 1 ]] || fail "not one wheel: $(ls "$scratch/wheels")"
  [[ $wheel == *-py3-none-manylinux_2_*_x86_64.whl ]] || fail "the wheel is for no known platform: $wheel"
  (($(stat -c %s "$wheel") <= 15000000)) || fail "the wheel has more than 15 MB: $(stat -c %s "$wheel")"
  python3 -m zipfile -e "$wheel" "$scratch/unpacked"
  grep -qx "Requires-Dist: torch==$minor.\*" "$scratch"/unpacked/*.dist-info/METADATA || fail "does not ask for torch $minor"
  ls "$scratch"/unpacked/*.dist-info/sboms/*.json >/dev/null || fail "the libraries of the system are not listed"
  for found in man/man1/casdm-train.1 bash-completion/completions/casdm fish/vendor_completions.d/casdm.fish \
    zsh/site-functions/_casdm; do
    [[ -s $(echo "$scratch"/unpacked/casdm-*.data/data)/share/$found ]] || fail "the wheel holds no share/$found"
  done
  if command -v dpkg-query >/dev/null; then
    for found in libarchive libzip nlohmann-json3; do
      [[ -s $scratch/unpacked/casdm/share/doc/casdm/licences/$found ]] || fail "the wheel lacks the licence of $found"
    done
  fi
  found=$(find "$scratch/unpacked" \( -name 'libtorch*' -o -name 'libc10*' -o -name 'libcu*' \) -print)
  [[ -z $found ]] || fail "the wheel holds LibTorch: $found"
}

# Nothing is linked but what the wheel holds, LibTorch, and what every Linux has (glibc, libstdc++, zlib).
links() {
  local everywhere='^(lib(c|m|pthread|dl|rt|stdc\+\+|gcc_s|z)|ld-linux-x86-64)\.so\.[0-9]+$' file name entry count=0
  while IFS= read -r -d '' file; do
    [[ $(head -c 4 "$file") == $'\x7fELF' ]] || continue
    count=$((count + 1))
    while IFS= read -r name; do
      [[ $name =~ $everywhere || -f $torch/lib/$name || -n $(find "$scratch/unpacked" -name "$name") ]] ||
        fail "$file links $name, which nobody brings"
    done < <(readelf -d "$file" | sed -n 's/.*(NEEDED).*\[\(.*\)\]$/\1/p')
    while IFS= read -r entry; do
      [[ -z $entry || $entry == "\$ORIGIN"* ]] || fail "$file looks for libraries in $entry"
    done < <(readelf -d "$file" | sed -n 's/.*R\(UN\)\?PATH.*\[\(.*\)\]$/\2/p' | tr ':' '\n')
  done < <(find "$scratch/unpacked" -type f -print0)
  ((count > 25)) || fail "only $count programs and libraries in the wheel"
  if grep -rlIE -e "$(within "$build")" -e "$(within "$source")" -e "$(within "$(dirname "$torch")")" "$scratch/unpacked"; then
    fail "the files above name folders of this machine"
  fi
  rm -r "$scratch/unpacked"
}

use() {
  environment venv "$torch"
  cd "$scratch"
  [[ $(env -u HOME "$casdm" --version) == "casdm $(sed -n 's/^project(casdm VERSION \([0-9.]*\) .*/\1/p' "$source/CMakeLists.txt")" ]] ||
    fail "not the version of this tree"
  "$casdm" plugins list --json >"$scratch/plugins.json"
  if grep -q '"problem"' "$scratch/plugins.json"; then fail "plugins cannot be used: $(cat "$scratch/plugins.json")"; fi
  quietly "$casdm" plugins doctor
  quietly bash "$source/tests/package/runpath.sh" "$site/casdm/bin/casdm" "$site/casdm"
  quietly bash "$source/tests/package/exports.sh" "$site/casdm/lib"
  echo "ok: installed"
}

# The commands that `casdm plugins new` prints, as they are.
author() {
  local started=$SECONDS
  if command -v ccache >/dev/null; then
    export CMAKE_CXX_COMPILER_LAUNCHER=ccache CCACHE_BASEDIR=$scratch CCACHE_NOHASHDIR=1
  fi
  "$casdm" plugins new --kind metric my_metric >"$scratch/folder" 2>"$scratch/steps"
  sed -n 's/^  \(cd\|cmake\) /\1 /p' "$scratch/steps" >"$scratch/commands"
  (($(wc -l <"$scratch/commands") == 3)) || fail "not three commands: $(cat "$scratch/steps")"
  quietly bash -e "$scratch/commands"
  "$casdm" plugins inspect --json "$scratch/my_metric/build/my_metric.so" | grep -q '"usable": true' ||
    fail "the plugin cannot be used"
  echo "ok: a plugin of its own ($((SECONDS - started)) s)"
}

# interrupted TEXT FILE: a quick start that gets a Ctrl-C as soon as the file holds the text.
interrupted() {
  local process status=0
  set -m # in a process group of its own, as in a terminal
  "$casdm" quickstart --quick --runs "$scratch/runs" >"$scratch/log" 2>&1 &
  process=$!
  set +m
  until grep -qsF -- "$1" "$2"; do
    kill -0 "$process" 2>/dev/null || fail "ended before '$1' was in $2: $(cat "$scratch/log")"
    sleep 0.02
  done
  kill -INT -- "-$process"
  wait "$process" || status=$?
  ((status == 130)) || fail "status $status after a Ctrl-C: $(cat "$scratch/log")"
  grep -q "the same command goes on where it was" "$scratch/log" || fail "no word of how to go on: $(cat "$scratch/log")"
}

quick_start() {
  local started=$SECONDS run=$scratch/runs/quickstart-quick
  interrupted "== 2/5" "$scratch/log"
  interrupted '"images":128' "$run/metrics.jsonl"
  [[ ! -e $run/generated ]] || fail "a quick start has gone on after a Ctrl-C"
  quietly "$casdm" quickstart --quick --runs "$scratch/runs"
  grep -q '"images":640' "$run/metrics.jsonl" || fail "the training that was interrupted is not complete"
  [[ -s $run/metrics.jsonl && -s $run/generated/grid.png && -s $run/report.html ]] || fail "the quick start left nothing"
  quietly "$casdm" quickstart --quick --runs "$scratch/runs"
  grep -q "the run is complete" "$scratch/log" || fail "the second quick start has trained again"
  # Weights that are there are found without a folder of the user's; what is not there is named.
  weights=${XDG_CACHE_HOME:-$HOME/.cache}/casdm/weights
  quietly env -u HOME CASDM_WEIGHTS_PATH="$weights" "$casdm" quickstart --quick --runs "$scratch/runs"
  refused "HOME is not set" "CASDM_CACHE" -- env -u HOME "$casdm" quickstart --quick --runs "$scratch/other"
  refused "pip cannot download stlpips-pytorch" "CASDM_WEIGHTS_PATH" -- \
    env CASDM_CACHE="$scratch/cache" PIP_NO_INDEX=1 PIP_FIND_LINKS= "$casdm" quickstart --quick --runs "$scratch/other"
  touch "$scratch/file"
  refused "$scratch/file" -- env CASDM_CACHE="$scratch/file" "$casdm" quickstart --quick --runs "$scratch/other"
  [[ ! -e $scratch/other ]] || fail "a quick start without weights has begun to train"
  echo "ok: the quick start ($((SECONDS - started)) s)"
}

# Beside another torch, and beside none.
another_torch() {
  local fake=$scratch/torch
  mkdir -p "$fake/lib"
  printf "__version__ = '9.8.7+cpu'\ncuda: Optional[str] = None\n" >"$fake/version.py"
  for name in torch_cpu c10; do cc -shared -x c -o "$fake/lib/lib$name.so" - <<<'int other;'; done
  environment other "$fake"
  quietly "$casdm" --version
  refused "built with LibTorch $release" "torch \"9.8.7+cpu\" in $site" \
    "$scratch/other/bin/python3 -m pip install 'torch==$minor.*'" -- "$casdm" plugins doctor
  refused "built with LibTorch $release" "found is 9.8.7" -- \
    cmake -S "$scratch/my_metric" -B "$scratch/build" -DCMAKE_PREFIX_PATH="$site/casdm"
  rm "$site/torch"
  refused "there is no torch in $site" "-m pip install 'torch==$minor.*'" -- "$casdm" plugins doctor
}

make_wheel
links
echo "ok: $(basename "$wheel"), $(stat -c %s "$wheel") bytes"
use
author
quick_start
another_torch
echo "wheel: all passed in $SECONDS s"
