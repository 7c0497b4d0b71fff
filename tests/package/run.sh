#!/usr/bin/env bash
# casdm as a user gets it: installed, moved, and nothing else. From another folder, this builds, tests and trains with a
# plugin of every kind that `casdm plugins new` creates, and with the plugins of examples/.
#
#   tests/package/run.sh BUILD [PART FOLDER]     BUILD is a build folder of casdm in which everything is built
#
# PART: prepare (installs into the new FOLDER, for the other parts), kinds-1, kinds-2, kinds-3 (a third of the kinds of
# plugins each), examples, tutorial, installation. Default: all of them.
set -euo pipefail

# Uses nothing from the caller's environment.
if [[ -z ${IS_ALONE:-} ]]; then exec env -i HOME="$HOME" PATH="$PATH" IS_ALONE=1 bash "$0" "$@"; fi

build=$(cd "${1:?"usage: tests/package/run.sh BUILD [PART FOLDER]"}" && pwd)
source=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
parts=(prepare kinds-1 kinds-2 kinds-3 examples tutorial installation)
shared=$scratch/shared
if (($# > 1)); then
  parts=("$2")
  shared=${3:?"usage: tests/package/run.sh BUILD [PART FOLDER]"}
fi
umask 022
export XDG_DATA_HOME=$scratch/data
if command -v ccache >/dev/null; then
  export CMAKE_CXX_COMPILER_LAUNCHER=ccache CCACHE_BASEDIR=$scratch CCACHE_NOHASHDIR=1
  export CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime CCACHE_PCH_EXTSUM=1
fi

# shellcheck source=tests/package/common.sh
source "$source/tests/package/common.sh"

use_prefix() {
  prefix=$1
  casdm=$prefix/bin/casdm
  libraries=$prefix/$(sed -n 's/^CMAKE_INSTALL_LIBDIR:[A-Z]*=//p' "$build/CMakeCache.txt")
}

install_and_move() {
  rm -rf "$shared"
  mkdir -p "$shared"
  quietly cmake --install "$build" --prefix "$shared/installed" --component casdm
  mv "$shared/installed" "$prefix"
  quietly "$casdm" plugins list
  [[ ! -e $prefix/include && ! -e $libraries/cmake ]] || fail "the component casdm holds what authors of plugins need"
  mv "$prefix" "$shared/installed"
  quietly cmake --install "$build" --prefix "$shared/installed" --component sdk
  mv "$shared/installed" "$prefix"
  local file
  while IFS= read -r -d '' file; do
    if objdump -p "$file" | grep -E 'R(UN)?PATH' |
      grep -qE -e "$(within "$shared")" -e "$(within "$build")" -e "$(within "$source")"; then
      fail "$file has a RUNPATH into the build: $(objdump -p "$file" | grep -E 'R(UN)?PATH')"
    fi
  done < <(find "$prefix/bin" "$libraries" "$prefix/libexec" -type f \( -name '*.so' -o -perm -u+x \) -print0)
  if grep -rlE -e "$(within "$shared/installed")" -e "$(within "$build")" -e "$(within "$source")" \
    "$libraries/cmake" "$prefix/share"; then
    fail "the files above name folders of the build"
  fi
  for file in man/man1/casdm-train.1 bash-completion/completions/casdm fish/vendor_completions.d/casdm.fish \
    zsh/site-functions/_casdm; do
    [[ -s $prefix/share/$file ]] || fail "there is no share/$file"
  done
  quietly bash "$source/tests/package/runpath.sh" "$casdm" "$prefix"
  quietly bash "$source/tests/package/exports.sh" "$libraries"
  quietly "$casdm" --version
  "$casdm" plugins list --json >"$scratch/plugins.json"
  if grep -q '"problem"' "$scratch/plugins.json"; then fail "plugins cannot be used: $(cat "$scratch/plugins.json")"; fi
  grep -q '"id": "backbone_unet"' "$scratch/plugins.json" || fail "the installed plugins are not found"
}

zsh_completes() {
  timeout 120 zsh -f "$source/tests/package/completion.zsh" "$prefix/share/zsh/site-functions" >"$scratch/shown"
  local line
  for line in evaluate "config schema" "train x --set run.precision=bf16" "plugins inspect metric_ssim"; do
    grep -qF "got $line end" "$scratch/shown" || fail "zsh does not complete '$line': $(cat -v "$scratch/shown")"
  done
  echo "ok: completion in zsh"
}

# For `use_precompiled`.
precompile() {
  local command
  quietly "$casdm" plugins new --kind sampler precompiled --out "$scratch/precompiled"
  cd "$scratch/precompiled"
  echo '#include <ATen/ATen.h>' >aten.cpp
  CXXFLAGS="-fPIC -fpch-preprocess" quietly cmake -S . -B build -G Ninja -DCMAKE_PREFIX_PATH="$prefix"
  command=$(ninja -C build -t commands CMakeFiles/precompiled_objects.dir/precompiled.cpp.o | tail -n 1 |
    sed 's/ -DCASDM_[^ ]*//g')
  quietly eval "${command%% -MD *} -x c++-header aten.cpp -o '$shared/aten.h.gch'"
  sha256sum <"$shared/aten.h.gch" >"$shared/aten.h.gch.sum"
  : >"$shared/aten.h" # for a compiler that refuses the precompiled one
  cd "$scratch"
}

# From here on all files of plugins begin with a precompiled <ATen/ATen.h>: they take three seconds instead of nine.
use_precompiled() { export CXXFLAGS="-fPIC -fpch-preprocess -include $shared/aten.h"; }

# use_plugin FOLDER NAME: configures, builds, tests, inspects and trains.
use_plugin() {
  local started=$SECONDS file
  cd "$1"
  for file in *.cpp; do # each for itself: the precompiled header would hide what is missing
    if grep -q 'at::' "$file" && ! grep -qE '#include [<"](ATen/|torch/|casdm/torch_nn)' "$file"; then
      fail "$1/$file uses LibTorch and does not include it"
    fi
  done
  quietly cmake -S . -B build -G Ninja -DCMAKE_PREFIX_PATH="$prefix"
  quietly cmake --build build
  quietly ctest --test-dir build --output-on-failure
  "$casdm" plugins inspect --json "build/$2.so" >"$scratch/inspect.json"
  grep -q '"usable": true' "$scratch/inspect.json" || fail "$2 cannot be used: $(cat "$scratch/inspect.json")"
  if [[ -f experiment.toml ]]; then train_with "$2"; fi # else no experiment can choose a component of this kind
  cd "$scratch"
  echo "ok: $2 ($((SECONDS - started)) s)"
}

# train_with NAME: trains the experiment in the working directory, a plugin's tree.
train_with() {
  "$casdm" config schema --plugin "build/$1.so" >"$scratch/schema.json"
  grep -q "\"$1/" "$scratch/schema.json" || fail "the schema for editors does not know $1"
  quietly "$casdm" train experiment.toml --set run.directory="$scratch/runs" --set run.name="$1" --set run.threads=2 \
    --set train.total_images=32 --set log.every_images=16 --set log.sample_count=4 --set sampler.num_inference_steps=2
  test -s "$scratch/runs/$1/metrics.jsonl" || fail "$1 left no metrics.jsonl"
}

kinds_of_plugins() {
  refused "xpected one of" -- "$casdm" plugins new --kind none my_plugin
  kinds=$(sed -n 's/.*xpected one of //p' "$scratch/log" | tr -d ',')
  [[ $(tr ' ' '\n' <<<"common standalone $kinds" | sort) == "$(ls "$prefix/share/casdm/templates")" ]] ||
    fail "the kinds of plugins new ($kinds) are not those with templates"
}

# new_plugins FIRST: every third kind.
new_plugins() {
  local kind kinds number=0
  kinds_of_plugins
  for kind in $kinds; do
    number=$((number + 1))
    ((number % 3 == $1 % 3)) || continue
    quietly "$casdm" plugins new --kind "$kind" "my_$kind" --out "$scratch/new/my_$kind"
    use_plugin "$scratch/new/my_$kind" "my_$kind"
  done
}

refused_plugins() {
  quietly "$casdm" plugins new --kind sampler my_sampler --out "$scratch/refused/my_sampler"
  refused "exists" -- "$casdm" plugins new --kind sampler my_sampler --out "$scratch/refused/my_sampler"
  refused "cannot name a plugin" -- "$casdm" plugins new --kind sampler MySampler
  refused "cannot name a plugin" -- "$casdm" plugins new --kind sampler 2nd
  refused "no kind 'metrik'" "metric_loss" -- "$casdm" plugins new --kind metrik my_metric
  refused "--kind is missing" -- "$casdm" plugins new my_metric
}

examples() {
  local name
  for name in backbone_torch_nn head_x0_residual metric_random_features noise_rectified_flow; do
    cp -r "$source/examples/$name" "$scratch/$name"
    rm -rf "$scratch/$name/build"
    use_plugin "$scratch/$name" "$name"
  done
}

# block TEXT: the indented block of docs/plugins/tutorial.md that contains the text.
block() {
  awk -v text="$1" '
    /^    / || /^$/ { lines = lines $0 "\n"; next }
    { if (index(lines, text)) { printf "%s", lines; found = 1 }; lines = "" }
    END { exit !found }' "$source/docs/plugins/tutorial.md" | sed 's/^    //'
}

# The tutorial's files and commands, word for word except for the length of the training.
tutorial() {
  local tree=$scratch/charbonnier_fft
  quietly "$casdm" plugins new --kind metric charbonnier_fft
  block '#include' >"$tree/charbonnier_fft.cpp"
  (($(grep -c . "$tree/charbonnier_fft.cpp") <= 40)) || fail "the tutorial's metric has more than 40 lines"
  block 'const auto spectral' | sed 's/^/  /' >"$scratch/check"
  sed -i -e "s/.*const auto metric = .*/  $(block 'const auto metric' | tr -d '\n')/" \
    -e "/^  return casdm::testing/e cat '$scratch/check'" "$tree/charbonnier_fft_test.cpp"
  use_plugin "$tree" charbonnier_fft
  compare_runs "$tree"
}

# compare_runs FOLDER: the tutorial's comparison. The first network, which no metric reaches, is the same in both runs.
compare_runs() {
  cd "$1"
  block '/configs/quickstart.toml' | sed "s|/home/me/casdm|$prefix|" >with_fft.toml
  block 'include = ["with_fft.toml"]' >without_fft.toml
  block 'casdm train with_fft.toml' | sed 's/=2k/=160 --set log.every_images=16 --set log.sample_count=0 --set log.sample_every_images=0/' >commands
  block 'casdm sample' | sed 's/--num 36/--num 4 --steps 2/' >>commands
  block 'python3' >numbers
  PATH=$prefix/bin:$PATH quietly bash -e commands
  bash -e numbers >compared
  [[ $(wc -l <compared) == 2 && $(cut -d ' ' -f 2- compared | grep -o 'eps [^ ]*' | sort -u | wc -l) == 1 ]] ||
    fail "the two runs cannot be compared: $(cat compared)"
  [[ $(grep -o 'x0 .*' compared | sort -u | wc -l) == 2 ]] || fail "the metric changed nothing: $(cat compared)"
  cd "$scratch"
  echo "ok: the tutorial's comparison"
}

# An installed plugin is found without `[plugins] paths`.
install_a_plugin() {
  cp -a "$prefix" "$scratch/third"
  quietly cmake --install "$scratch/metric_random_features/build" --prefix "$scratch/third"
  "$scratch/third/bin/casdm" plugins list | grep -q random_features || fail "an installed plugin is not found"
}

# short_run PROGRAM NAME: a training of two steps.
short_run() {
  "$1" train "$prefix/share/casdm/configs/quickstart.toml" --set run.directory="$scratch/runs" --set run.name="$2" \
    --set run.threads=1 --set 'metrics=[{type="ssim"}]' --set train.total_images=32 --set log.every_images=32 \
    --set log.sample_count=0 --set log.sample_every_images=0 >"$scratch/$2.log" 2>&1 ||
    { cat "$scratch/$2.log" >&2 && fail "the training $2"; }
}

# Two installations on one machine: each has its own plugins, and both may be in use at once, also on one run.
two_installs() {
  local other=$scratch/second plugin=${libraries#"$prefix/"}/casdm/plugins/metric_ssim.so first
  cp -a "$prefix" "$other"
  mv "$prefix/$plugin" "$scratch"
  if "$casdm" plugins list | grep -q metric_ssim; then fail "a plugin of another installation is found"; fi
  mv "$scratch/metric_ssim.so" "$prefix/$plugin"
  short_run "$casdm" first &
  first=$!
  short_run "$other/bin/casdm" second
  wait "$first"
  cmp "$scratch/runs/first/checkpoints/000000000032/weights.safetensors" \
    "$scratch/runs/second/checkpoints/000000000032/weights.safetensors" || fail "two installations train differently"
  quietly "$other/bin/casdm" train --resume "$scratch/runs/first" --set train.total_images=64
}

# /proc is read-only, also for root.
read_only_home() {
  unset XDG_DATA_HOME
  HOME=/proc quietly "$casdm" plugins list
  HOME=/proc short_run "$casdm" homeless
  HOME=/proc quietly "$casdm" sample "$scratch/runs/homeless" --num 1 --steps 2 --out "$scratch/drawn"
  HOME=/proc quietly "$casdm" report "$scratch/runs/homeless"
}

# A link of the installed pages leads to what is installed.
links() {
  python3 - "$prefix/share/doc/casdm" <<'PYTHON' || fail "links of the installed documentation lead nowhere"
import pathlib, re, sys
broken = [f"{page}: {target}" for page in pathlib.Path(sys.argv[1]).rglob("*.md")
          for target in re.findall(r"\]\(([^)\s#]+)[^)\s]*\)", page.read_text(encoding="utf-8"))
          if not re.match("[a-z]+:", target) and not (page.parent / target).exists()]
sys.exit("\n".join(broken) or None)
PYTHON
}

# The documentation is served from where it is installed; without it, the message says how to get it.
documentation() {
  local pages=$prefix/share/doc/casdm/html moved=$scratch/pages server
  if [[ -e $pages ]]; then mv "$pages" "$moved"; fi
  refused "there are no pages in" "tools/site.sh" -- "$casdm" docs
  mkdir -p "$pages"
  echo "a page" >"$pages/index.html"
  [[ $("$casdm" docs --print) == "$pages" ]] || fail "casdm docs --print"
  mkdir "$scratch/strange" # Python files of the working directory are not imported
  echo 'raise SystemExit("http.py of the working directory has run")' >"$scratch/strange/http.py"
  (cd "$scratch/strange" && exec env -u DISPLAY -u WAYLAND_DISPLAY "$casdm" docs) >"$scratch/address" &
  server=$!
  for _ in $(seq 100); do
    if [[ -s $scratch/address ]]; then break; fi
    sleep 0.1
  done
  python3 -c 'import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())' \
    "$(cat "$scratch/address")" | grep -q "a page" || fail "casdm docs does not serve its pages"
  kill -TERM "$server"
  wait "$server" || fail "casdm docs ended with $?"
  rm -r "$pages"
  if [[ -e $moved ]]; then mv "$moved" "$pages"; fi
}

another_libtorch() {
  mkdir -p "$scratch/torch/lib"
  touch "$scratch/torch/lib/libtorch_cpu.so"
  printf "__version__ = '9.8.7+cpu'\ncuda: Optional[str] = None\n" >"$scratch/torch/version.py"
  refused "built with LibTorch 2." "found is 9.8.7" -- \
    cmake -S "$scratch/refused/my_sampler" -B "$scratch/other" -DCMAKE_PREFIX_PATH="$prefix" -DCASDM_TORCH_DIR="$scratch/torch"
}

# What the check after linking must refuse, shown with the smallest possible libraries.
bad_links() {
  local function='extern "C" int casdm_plugin_entry() { return 0; }'
  local entry="$function asm(\".pushsection .note.casdm,\\\"a\\\",@note\\n.long 0\\n.popsection\");"
  local check=(cmake -D NM=nm -D OBJDUMP=objdump -D "PLUGIN=$scratch/bad.so"
    -P "$libraries/cmake/casdm/CasdmCheckPlugin.cmake")
  library() { g++ -shared -fPIC -x c++ - -o "$scratch/bad.so" "${@:2}" <<<"$1"; }
  library "$entry"
  quietly "${check[@]}"
  library "$function"
  refused "bad.so has no casdm note" -- "${check[@]}"
  library "$entry int leaked() { return 1; }"
  refused "exports other symbols" "leaked" -- "${check[@]}"
  library "$entry" -Wl,--no-as-needed -fopenmp
  refused "links the OpenMP runtime libgomp" -- "${check[@]}"
  library "$entry" -Wl,-rpath,/nowhere
  refused "has the RUNPATH /nowhere" -- "${check[@]}"
}

cd "$scratch"
use_prefix "$shared/moved prefix"
for part in "${parts[@]}"; do
  case $part in
    prepare)
      install_and_move
      precompile
      echo "ok: installed and moved"
      ;;
    kinds-[123])
      use_precompiled
      new_plugins "${part#kinds-}"
      ;;
    examples)
      use_precompiled
      examples
      install_a_plugin
      ;;
    tutorial)
      use_precompiled
      tutorial
      ;;
    installation)
      cp -a "$prefix" "$scratch/changed prefix" # others use the shared one at the same time
      use_prefix "$scratch/changed prefix"
      refused_plugins
      two_installs
      echo "ok: two installations"
      another_libtorch
      bad_links
      read_only_home
      links
      documentation
      if command -v zsh >/dev/null; then zsh_completes; fi
      if command -v dpkg-query >/dev/null; then
        quietly python3 -B "$source/tests/package/sbom_test.py" "$prefix"
        echo "ok: the bill of materials"
      fi
      ;;
    *) fail "no part named $part" ;;
  esac
done
echo "package: all passed in $SECONDS s"
