#!/usr/bin/env bash
# Everything that needs a GPU, with one command. See --help.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: benchmarks/gpu.sh [--out DIR]             build here, test and measure here
       benchmarks/gpu.sh --carry DIR             fill DIR for a machine that cannot build
       benchmarks/gpu.sh --run DIR [--out DIR]   there: test and measure what DIR holds

On a machine with an NVIDIA GPU and LibTorch's CUDA libraries (tools/setup.sh --cuda):
  1. the tests of label cuda: every component and every shipped experiment, made small, on CUDA
     against the CPU, bitwise repeats, resumes and the leak test, gradient checkpointing, fp16
     overflow, waits per step
  2. compute-sanitizer on the kernels of casdm's own; PyPI's, if none is installed
  3. images per second and memory of CIFAR-10 configurations in fp32, tf32 and bf16, with the images
     of the networks, and of the metric's, channels-last and contiguous
  4. the kernels, copies and waits of one training step
  5. the same networks trained by diffusers, eager, channels-last and compiled, and by
     guided-diffusion, in an environment of their own (benchmarks/peers.sh, 6 GB) unless
     CASDM_PEERS_PYTHON names a Python that has benchmarks/requirements.txt
  6. 20 steps of each shipped experiment with its own networks, on drawn shapes

The tables go to standard output, all output to DIR (default: build/gpu), and what 3 and 5 measured
to DIR/table.txt. A part that fails is reported and the next one runs; exit status 1 says that there
was one, 77 that there is no device.

--carry copies programs, plugins, weights and the libraries that other distributions lack, about
100 MB. The other machine needs glibc and libstdc++ no older than this one's, and the full wheel
`torch` of the same release, found through CASDM_TORCH_DIR or python3.

  --parts 1,3              only these parts
  --steps N                steps of a timing (default 40)
  --check                  only check the settings of the experiments of 3; needs no device
  --build DIR              take this build, with its tests, as it is
  --guided-diffusion DIR   a checkout, which takes part in 5
TEXT
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$root/build/release
cache=${CASDM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/casdm}
carry='' holds='' out='' guided='' is_built=false is_check=false parts=1,2,3,4,5,6 steps=40
while (($# > 0)); do
  case $1 in
    --carry) carry=${2:?"--carry needs a folder"} && shift ;;
    --run) holds=${2:?"--run needs a folder"} && shift ;;
    --out) out=${2:?"--out needs a folder"} && shift ;;
    --parts) parts=${2:?"--parts needs numbers"} && shift ;;
    --steps) steps=${2:?"--steps needs a number"} && shift ;;
    --build) build=$(realpath "${2:?"--build needs a folder"}") && is_built=true && shift ;;
    --check) is_check=true ;;
    --guided-diffusion) guided=$(realpath "${2:?"--guided-diffusion needs a folder"}") && shift ;;
    --help | -h) usage && exit 0 ;;
    *) echo "gpu.sh: unknown argument '$1'; see benchmarks/gpu.sh --help" >&2 && exit 2 ;;
  esac
  shift
done

say() { echo "gpu.sh: $*"; }

built() {
  if $is_built; then return; fi
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
    "$to/libraries" "$to/weights" "$to/source/examples" "$to/source/tests/parity"
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
  cp -r "$root/tests/parity/references" "$to/source/tests/parity/"
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
  local name=$1 config=$2 command=(train --overwrite)
  shift 2
  if $is_check; then command=(config check); fi
  timeout 300 "$build/bin/casdm" "${command[@]}" "$root/configs/$config.toml" --set run.name="$name" \
    --set run.directory="$out/runs" --set run.device=cuda --set 'data={type="shapes",image_size=32}' \
    --set log.sample_count=0 --set log.sample_every_images=0 --set checkpoint.every_images=1M "$@"
}

# row EXPERIMENT CONTENDER RUN-OR-FILE: a row of the table.
row() {
  printf '%-20s %-36s %s\n' "$1" "$2" "$(python3 "$root/benchmarks/gpu/rate.py" "$3")" | tee -a "$out/table.txt"
}

# timed CONFIG PRECISION LABEL OPTION...: the label names the contender, after the precision.
timed() {
  local name=$1-$2${3//, /-}
  name=${name// /-}
  part "$name" train "$name" "$1" --set run.precision="$2" --set log.every_images=640 \
    --set train.total_images=$((128 * steps)) "${@:4}" || return 0
  if $is_check; then return; fi
  row "$1" "casdm, $2$3" "$out/runs/$name"
}

timings() {
  local config precision format metric=metrics.0.memory_format
  for config in cifar10_ddpm_eps cifar10_casdm cifar10_casdm_lpips; do
    for precision in fp32 tf32 bf16; do timed "$config" "$precision" '' --set train.cuda_graph=off; done
    timed "$config" bf16 ', graph' --set train.cuda_graph=on
  done
  # The formats that "auto" does not take.
  for precision in fp32 tf32; do
    timed cifar10_ddpm_eps "$precision" ', channels_last' --set head.theta.memory_format=channels_last
  done
  timed cifar10_ddpm_eps bf16 ', contiguous' --set head.theta.memory_format=contiguous
  timed cifar10_casdm_lpips bf16 ', metric channels_last' --set $metric=channels_last
  for format in contiguous channels_last; do
    timed cifar10_casdm_lpips bf16 ", metric bf16 $format" --set metrics.0.precision=bf16 --set $metric=$format
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

# Writes the networks of cifar10_casdm, which are those of the other two experiments, as diffusers reads them.
exported() {
  local module
  part first-step train first-step cifar10_casdm --set train.total_images=128 --set log.every_images=128 || return 1
  for module in theta phi; do
    part "export-$module" "$build/bin/casdm" export "$out/runs/first-step" --module $module --layout diffusers \
      --out "$out/networks/$module" --overwrite || return 1
  done
}

# peer EXPERIMENT CONTENDER OPTION...: without casdm's libraries, so that the peer's own wheel is used.
peer() {
  local name=$1-${2//[ ,]/}
  part "$name" timeout 600 env -u LD_LIBRARY_PATH "$python" "$root/benchmarks/cpu/peer.py" train "$out/networks" \
    --device cuda --bf16 --batch 128 --dropout 0.1 "${@:3}" || return 0
  row "$1" "$2, bf16" "$out/$name.txt"
}

peers() {
  local python variant
  if ! python=$(bash "$root/benchmarks/peers.sh" 2>"$out/peers.txt"); then
    failures=$((failures + 1))
    say "5: the peers cannot be installed; the end of $out/peers.txt:" && tail -n 5 "$out/peers.txt"
    return
  fi
  exported || return 0
  if [[ -n $guided ]]; then peer cifar10_ddpm_eps guided-diffusion --guided-diffusion "$guided"; fi
  for variant in eager channels-last compiled; do
    peer cifar10_ddpm_eps "diffusers $variant" --head ddpm --variant $variant
    peer cifar10_casdm "diffusers $variant" --head casdm --variant $variant
    peer cifar10_casdm_lpips "diffusers $variant" --head casdm_st_lpips --variant $variant
  done
}

# The path of compute-sanitizer: the installed one, or PyPI's, of the CUDA release of the wheel torch.
sanitizer() {
  local folder=$cache/compute-sanitizer python=python3
  command -v compute-sanitizer && return
  if [[ ! -x $folder/nvidia/cu13/bin/compute-sanitizer ]]; then
    for python in "$cache"/venv-*/bin/python; do :; done
    [[ -x $python ]] || python=python3
    "$python" -m pip install --quiet --no-deps --target "$folder" 'nvidia-cuda-sanitizer-api==13.0.*' >&2 || return 1
  fi
  echo "$folder/nvidia/cu13/bin/compute-sanitizer"
}

sanitized() {
  local program
  if ! program=$(sanitizer 2>"$out/sanitizer.txt"); then
    failures=$((failures + 1))
    say "2: compute-sanitizer cannot be installed; the end of $out/sanitizer.txt:" && tail -n 5 "$out/sanitizer.txt"
    return
  fi
  part sanitizer "$program" --error-exitcode 9 "$build/tests/cuda_test" \
    -tc='noise*,dropout*,a U-Net on CUDA*,a training step of any head*' || return 0
  tail -n 1 "$out/sanitizer.txt"
}

measured() {
  out=${out:-$root/build/gpu}
  mkdir -p "$out"
  out=$(cd "$out" && pwd)
  rm -f "$out/table.txt"
  local torch folder
  torch=$(torch_folder)
  LD_LIBRARY_PATH=$(printf '%s:' ${holds:+"$holds/libraries"} "$torch/lib" "$torch"/../nvidia/*/lib)
  export LD_LIBRARY_PATH XDG_STATE_HOME=$out/state OMP_NUM_THREADS=1
  if $is_check; then timings && return; fi
  "$build/bin/casdm" plugins doctor | sed -n 's/^[a-z]* *device: /device: /p'
  if chosen 1; then
    local status=0
    timeout 1800 "$build/tests/cuda_test" >"$out/tests.txt" 2>&1 || status=$?
    ((status != 77)) || { tail -n 1 "$out/tests.txt" && exit 77; }
    tail -n 3 "$out/tests.txt"
    ((status == 0)) || { failures=$((failures + 1)) && grep -E 'ERROR|values:|logged:' "$out/tests.txt" | head -n 40; }
  fi
  if chosen 2; then sanitized; fi
  if chosen 3; then timings; fi
  if chosen 4; then trace; fi
  if chosen 5; then peers; fi
  if chosen 6; then
    part experiments python3 "$root/benchmarks/gpu/experiment_steps.py" "$build/bin/casdm" "$out/experiments" \
      "$root"/configs/*.toml || true
    grep -h ' step' "$out/experiments.txt" || true
  fi
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
  export CASDM_WEIGHTS_PATH=$holds/weights CASDM_SOURCE_DIR=$root
else
  built
fi
measured
((failures == 0)) || exit 1
