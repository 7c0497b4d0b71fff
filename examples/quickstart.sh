#!/usr/bin/env bash
# From a bare machine to samples of a model trained there. See --help.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: examples/quickstart.sh [--quick] [--runs DIR]

Installs what is missing (tools/setup.sh), builds casdm, and runs `casdm quickstart`: that trains Cas-DM
with a perceptual metric on 1,419 emoji for about two minutes, draws 36 images from it, scores its
images beside real ones, and writes a page about all of it.
Stopped (Ctrl-C) and started again, it goes on where it was.

  --quick     train for some seconds only: shows that everything works, not what it can do
  --runs DIR  folder for the run (default: runs/ in the source tree)
TEXT
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
runs=$root/runs
arguments=()

while (($# > 0)); do
  case $1 in
    --quick) arguments+=(--quick) ;;
    --runs) runs=${2:?"--runs needs a folder"} && shift ;;
    --help | -h) usage && exit 0 ;;
    *) echo "quickstart: unknown argument '$1'; see examples/quickstart.sh --help" >&2 && exit 2 ;;
  esac
  shift
done

echo "== set-up"
bash "$root/tools/setup.sh"

echo "== build (some minutes the first time)"
cmake --preset release -S "$root" -DCASDM_BUILD_TESTS=ON >/dev/null
(cd "$root" && cmake --build --preset release --target casdm_all)
exec "$root/build/release/bin/casdm" quickstart --runs "$runs" "${arguments[@]}"
