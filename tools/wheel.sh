#!/usr/bin/env bash
# Makes the wheel that `pip install casdm` installs. See --help.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: tools/wheel.sh [--build BUILD] [--out DIR]

Packs a build of casdm as a wheel: program, plugins, SDK, experiments and the libraries of the system that they link,
but for those that every Linux has. LibTorch is not in it: the wheel depends on the wheel `torch` of the minor
version it was built with. The platform in its name says the oldest glibc that it runs on.
Prints the wheel's name.

  --build BUILD  the build folder (default: build/release, which is made if it is not there)
  --out DIR      where the wheel goes (default: build/wheels)
  --help         this text

A build with another LibTorch (-DCASDM_TORCH_RELEASE=2.15.0) gives a wheel whose version names it: VERSION+torch2.15.
`tools/setup.sh --packages` installs what it needs.
TEXT
}

most=15000000 # bytes
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$root/build/release
out=$root/build/wheels

while (($# > 0)); do
  case $1 in
    --build) build=$(realpath "${2:?"--build needs a folder"}") && shift ;;
    --out) out=$(realpath -m "${2:?"--out needs a folder"}") && shift ;;
    --help | -h) usage && exit 0 ;;
    *) echo "wheel: unknown argument '$1'; see tools/wheel.sh --help" >&2 && exit 2 ;;
  esac
  shift
done

fail() {
  echo "wheel: $*" >&2
  exit 1
}

release=$(sed -n 's/^set(CASDM_TORCH_RELEASE \([0-9.]*\) .*/\1/p' "$root/CMakeLists.txt")
cache=${CASDM_CACHE:-${XDG_CACHE_HOME:-${HOME:?"HOME is not set; set it or CASDM_CACHE"}/.cache}/casdm}
venv=$cache/venv-$release
[[ -x $venv/bin/auditwheel ]] || fail "no auditwheel in $venv; tools/setup.sh --packages installs it"
export PATH=$venv/bin:$PATH CASDM_BUILD=$build
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

"$venv/bin/python" -m pip wheel --no-build-isolation --no-deps --disable-pip-version-check --quiet \
  --config-settings=build-dir="$scratch/cmake" --wheel-dir "$scratch" "$root" >&2
plain=$(echo "$scratch"/casdm-*.whl)

# LibTorch comes with the wheel torch; the plugins find casdm's own libraries in their host.
auditwheel repair --exclude 'libtorch*.so' --exclude 'libc10*.so' --exclude 'libcasdm_*.so' \
  --wheel-dir "$scratch/repaired" "$plain" >"$scratch/log" 2>&1 || {
  cat "$scratch/log" >&2
  fail "auditwheel cannot make $(basename "$plain") fit for other machines"
}
wheel=$(echo "$scratch"/repaired/casdm-*.whl)
size=$(stat -c %s "$wheel")
((size <= most)) || fail "$(basename "$wheel") has $size bytes, more than the $most it may have"
mkdir -p "$out"
mv "$wheel" "$out/"
echo "$out/$(basename "$wheel")"
