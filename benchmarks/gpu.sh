#!/usr/bin/env bash
# Everything that needs a GPU, with one command. See --help.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: benchmarks/gpu.sh [--out DIR]             build here, test and measure here
       benchmarks/gpu.sh --carry DIR             fill DIR for a machine that cannot build
       benchmarks/gpu.sh --run DIR [--out DIR]   there: test and measure what DIR holds

On a machine with an NVIDIA GPU and LibTorch's CUDA libraries (tools/setup.sh --cuda):
  1. the tests of label cuda: every component on CUDA against the CPU, bitwise repeats, resumes and
     the leak test, gradient checkpointing, fp16 overflow, waits per step
  2. compute-sanitizer, where it is installed, on the kernels of casdm's own
  3. images per second and memory of CIFAR-10 configurations in fp32, tf32 and bf16
  4. the kernels, copies and waits of one training step
  5. the same network in plain PyTorch, eager and compiled, where python3 has torch

The tables go to standard output, all output to DIR (default: build/gpu). A part that fails is
reported and the next one runs; exit status 1 says that there was one, 77 that there is no device.

--carry copies programs, plugins, weights and the libraries that other distributions lack, about
100 MB. The other machine needs glibc and libstdc++ no older than this one's, and the full wheel
`torch` of the same release, found through CASDM_TORCH_DIR or python3.

  --parts 1,3    only these parts
  --steps N      steps of a timing (default 40)
TEXT
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$root/build/release
cache=${CASDM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/casdm}
carry='' holds='' out='' parts=1,2,3,4,5 steps=40
while (($# > 0)); do
  case $1 in
    --carry) carry=${2:?"--carry needs a folder"} && shift ;;
    --run) holds=${2:?"--run needs a folder"} && shift ;;
    --out) out=${2:?"--out needs a folder"} && shift ;;
    --parts) parts=${2:?"--parts needs numbers"} && shift ;;
    --steps) steps=${2:?"--steps needs a number"} && shift ;;
    --help | -h) usage && exit 0 ;;
    *) echo "gpu.sh: unknown argument '$1'; see benchmarks/gpu.sh --help" >&2 && exit 2 ;;
  esac
  shift
done

say() { echo "gpu.sh: $*"; }

built() {
  bash "$root/tools/setup.sh"
  cmake --preset release -S "$root" -DCASDM_BUILD_TESTS=ON >/dev/null
  cmake --build "$build" --target casdm_all cuda_test
  local nvidia
  mkdir -p "$build/benchmarks"
  for nvidia in "$(torch_folder)"/../nvidia/cu*; do
    if [[ -f $nvidia/include/cupti.h ]]; then
      g++ -std=c++20 -O1 -shared -fPIC -I"$nvidia/include" "$root/benchmarks/gpu/trace.cpp" -L"$nvidia/lib" \
        -l:"$(basename "$nvidia"/lib/libcupti.so.*)" -o "$build/benchmarks/libgpu_trace.so"
    fi
  done
}

# The folder `torch` of a wheel: the one that was named, the one of tools/setup.sh, or python3's.
torch_folder() {
  local folder=${CASDM_TORCH_DIR:-}
  if [[ -z $folder ]]; then
    for folder in "$cache"/venv-*/lib/python3*/site-packages/torch; do :; done
  fi
  if [[ ! -e $folder/lib/libtorch_cuda.so ]]; then
    folder=$(python3 -c 'import importlib.util as u; print(*u.find_spec("torch").submodule_search_locations)' \
      2>/dev/null) ||
      { say "no LibTorch: set CASDM_TORCH_DIR, or install the wheel torch for python3" >&2 && return 1; }
  fi
  echo "$folder"
}

# Shared libraries that are linked but missing in some distributions.
foreign_libraries() {
  local file
  for file in "$build/bin/casdm" "$build"/lib/*.so "$build"/lib/casdm/plugins/*.so "$build/tests/cuda_test"; do
    ldd "$file"
  done | awk '$2 == "=>" && $3 ~ /^\/(usr\/)?lib/ { print $3 }' | sort -u |
    grep -vE '/(libc|libm|libdl|libpthread|librt|libutil|libgcc_s|libstdc\+\+)\.so' |
    grep -vE '/(libcu[a-z]*|libnv[a-zA-Z]*|libnccl)\.so' || true
}

fill() {
  built
  local to=$carry
  mkdir -p "$to/build/bin" "$to/build/lib/casdm/plugins" "$to/build/tests" "$to/build/benchmarks" \
    "$to/libraries" "$to/weights" "$to/source/examples"
  cp "$build/bin/casdm" "$to/build/bin/"
  cp "$build"/lib/*.so "$to/build/lib/"
  cp "$build"/lib/casdm/plugins/*.so "$to/build/lib/casdm/plugins/"
  cp "$build/tests/cuda_test" "$to/build/tests/"
  cp "$build/benchmarks/libgpu_trace.so" "$to/build/benchmarks/" 2>/dev/null || true
  strip --strip-debug "$to"/build/bin/* "$to"/build/lib/*.so "$to"/build/lib/casdm/plugins/*.so \
    "$to"/build/tests/cuda_test
  foreign_libraries | xargs -r cp -Lt "$to/libraries"
  cp "$cache"/weights/st_lpips_*.safetensors "$to/weights/"
  cp -r "$root/configs" "$root/benchmarks" "$to/source/"
  cp -r "$root/examples/data" "$to/source/examples/"
  echo "$build" >"$to/built_in"
  say "$to holds $(du -sh "$to" | cut -f1); there: bash DIR/source/benchmarks/gpu.sh --run DIR"
}

failures=0
# part NAME COMMAND...: runs it with all output in a file, whose end is shown if it fails.
part() {
  local name=$1 status=0
  shift
  "$@" >"$out/$name.txt" 2>&1 || status=$?
  if ((status == 0)); then return 0; fi
  failures=$((failures + 1))
  say "$name FAILED with status $status; the end of $out/$name.txt:"
  tail -n 15 "$out/$name.txt"
  return 1
}

chosen() { [[ ,$parts, == *,$1,* ]]; }

train() {
  local name=$1 config=$2
  shift 2
  timeout 300 "$build/bin/casdm" train "$root/configs/$config.toml" --overwrite --set run.name="$name" \
    --set run.directory="$out/runs" --set run.device=cuda --set 'data={type="shapes",image_size=32}' \
    --set log.sample_count=0 --set log.sample_every_images=0 --set checkpoint.every_images=1M "$@"
}

# timed CONFIG PRECISION GRAPH
timed() {
  local name=$1-$2-$3
  part "$name" train "$name" "$1" --set run.precision="$2" --set train.cuda_graph="$3" --set log.every_images=640 \
    --set train.total_images=$((128 * steps)) || return 0
  printf '%-22s %-5s graph %-4s ' "$1" "$2" "$3"
  python3 "$root/benchmarks/gpu/rate.py" "$out/runs/$name" 1
}

timings() {
  local config precision
  for config in cifar10_ddpm_eps cifar10_casdm cifar10_casdm_lpips; do
    for precision in fp32 tf32 bf16; do timed "$config" "$precision" off; done
    timed "$config" bf16 on
  done
}

trace() {
  local length tracer=$build/benchmarks/libgpu_trace.so
  [[ -f $tracer ]] || { say "4: no tracer was built (CUPTI's headers are missing)" && return; }
  for length in 10 20; do
    CUDA_INJECTION64_PATH=$tracer GPU_TRACE=$out/trace-$length.tsv part "trace-$length" train "trace-$length" \
      cifar10_casdm_lpips --set run.precision=bf16 --set train.total_images=$((128 * length)) || return 0
  done
  python3 "$root/benchmarks/gpu/step.py" "$out/trace-10.tsv" "$out/trace-20.tsv" 10
}

peers() {
  # Without casdm's libraries, so that python3's own wheel is used.
  local -x LD_LIBRARY_PATH=
  local options
  python3 -c 'import torch' 2>/dev/null || { say "5: python3 has no torch" && return; }
  for options in "" --channels-last --compile "--channels-last --compile"; do
    for heads in 1 2; do
      # shellcheck disable=SC2086  # several options
      part peer timeout 300 python3 "$root/benchmarks/gpu/peer.py" --heads $heads --precision bf16 --steps "$steps" \
        $options || continue
      grep PyTorch "$out/peer.txt"
    done
  done
}

measured() {
  out=${out:-$build/../gpu}
  mkdir -p "$out"
  out=$(cd "$out" && pwd)
  local torch folder
  torch=$(torch_folder)
  LD_LIBRARY_PATH=$(printf '%s:' ${holds:+"$holds/libraries"} "$torch/lib" "$torch"/../nvidia/*/lib)
  export LD_LIBRARY_PATH XDG_STATE_HOME=$out/state OMP_NUM_THREADS=1
  "$build/bin/casdm" plugins doctor | sed -n 's/^[a-z]* *device: /device: /p'
  if chosen 1; then
    local status=0
    timeout 900 "$build/tests/cuda_test" >"$out/tests.txt" 2>&1 || status=$?
    ((status != 77)) || { tail -n 1 "$out/tests.txt" && exit 77; }
    tail -n 3 "$out/tests.txt"
    ((status == 0)) || { failures=$((failures + 1)) && grep -E 'ERROR|values:|logged:' "$out/tests.txt" | head -n 40; }
  fi
  if chosen 2; then
    if command -v compute-sanitizer >/dev/null; then
      part sanitizer compute-sanitizer --error-exitcode 9 "$build/tests/cuda_test" -tc='noise*,dropout*' &&
        tail -n 1 "$out/sanitizer.txt"
    else
      say "2: compute-sanitizer is not installed"
    fi
  fi
  if chosen 3; then timings; fi
  if chosen 4; then trace; fi
  if chosen 5; then peers; fi
}

if [[ -n $carry ]]; then
  fill
  exit
fi
if [[ -n $holds ]]; then
  holds=$(cd "$holds" && pwd)
  root=$holds/source
  build=$(cat "$holds/built_in")
  # The tests look for plugins in the folder where they were built.
  if [[ ! -e $build ]]; then mkdir -p "$(dirname "$build")" && ln -s "$holds/build" "$build"; fi
  export CASDM_WEIGHTS_PATH=$holds/weights
else
  built
fi
measured
((failures == 0)) || exit 1
