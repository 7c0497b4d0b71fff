#!/usr/bin/env bash
# Makes the Debian packages casdm and casdm-dev. See --help.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: tools/deb.sh [--build BUILD] [--out DIR]

Packs a build of casdm as Debian packages for the release of Debian it runs on: casdm (program, plugins, experiments) and
casdm-dev (the SDK). They depend on the packages whose libraries they link. LibTorch is in neither: casdm looks for that
of the Python package torch in /usr/lib/casdm/torch, a link to the folder `torch` of an environment. Prints the names of
the files.

  --build BUILD  the build folder, in which everything is built (default: build/release)
  --out DIR      where the packages go (default: build/packages)
  --help         this text

Needs dpkg-dev, file and patchelf, which `tools/setup.sh --packages` installs.
TEXT
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$root/build/release
out=$root/build/packages

while (($# > 0)); do
  case $1 in
    --build) build=$(realpath "${2:?"--build needs a folder"}") && shift ;;
    --out) out=$(realpath -m "${2:?"--out needs a folder"}") && shift ;;
    --help | -h) usage && exit 0 ;;
    *) echo "deb: unknown argument '$1'; see tools/deb.sh --help" >&2 && exit 2 ;;
  esac
  shift
done

for program in dpkg-shlibdeps file; do
  command -v "$program" >/dev/null || { echo "deb: there is no $program; run tools/setup.sh --packages" >&2 && exit 1; }
done
[[ -f $build/CPackConfig.cmake ]] || { echo "deb: $build is no configured build of casdm" >&2 && exit 1; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
umask 022
cpack --config "$build/CPackConfig.cmake" -B "$scratch" >"$scratch/log" 2>&1 || {
  tail -n 40 "$scratch/log" >&2
  exit 1
}
mkdir -p "$out"
for package in "$scratch"/*.deb; do
  mv "$package" "$out/"
  echo "$out/$(basename "$package")"
done
