#!/usr/bin/env bash
# From a bare machine to samples of a model trained there. See --help.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: examples/quickstart.sh [--quick] [--runs DIR]

Installs what is missing (tools/setup.sh), builds casdm, trains Cas-DM with a perceptual metric on
1,419 emoji for about five minutes (configs/quickstart.toml), draws 36 images from it, scores its
images beside real ones, and writes a page about all of it.
Stopped (Ctrl-C) and started again, it goes on where it was.

  --quick     train for some seconds only: shows that everything works, not what it can do
  --runs DIR  folder for the run (default: runs/ in the source tree)
TEXT
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
runs=$root/runs
name=quickstart
settings=()
judged=(--num 256)

while (($# > 0)); do
  case $1 in
    --quick)
      name=quickstart-quick
      settings+=(--set train.total_images=640 --set log.every_images=128 --set log.sample_every_images=0
        --set log.sample_count=0 --set sampler.num_inference_steps=20)
      judged=(--num 64 --set evaluate.reference_num=128)
      ;;
    --runs)
      mkdir -p "${2:?"--runs needs a folder"}"
      runs=$(cd "$2" && pwd) && shift
      ;;
    --help | -h) usage && exit 0 ;;
    *) echo "quickstart: unknown argument '$1'; see examples/quickstart.sh --help" >&2 && exit 2 ;;
  esac
  shift
done

stage() { echo "== $1"; }

stage "1/5 set-up"
bash "$root/tools/setup.sh"

stage "2/5 build (some minutes the first time)"
cmake --preset release -S "$root" -DCASDM_BUILD_TESTS=ON >/dev/null
(cd "$root" && cmake --build --preset release --target casdm_all)
casdm=$root/build/release/bin/casdm

run=$runs/$name
stage "3/5 training into $run"
if [[ -d $run ]]; then
  "$casdm" train --resume "$run"
else
  "$casdm" train "$root/configs/quickstart.toml" --set run.name="$name" --set run.directory="$runs" "${settings[@]}"
fi

stage "4/5 sampling"
"$casdm" sample "$run" --num 36 --out "$run/generated" --overwrite >/dev/null

stage "5/5 scoring ${judged[1]} images against those of the training, and real images against real ones"
"$casdm" evaluate "$run" "${judged[@]}" --floor --nearest 8
"$casdm" report "$run" >/dev/null

echo
echo "The samples: $run/generated/grid.png"
echo "The report:  $run/report.html"
