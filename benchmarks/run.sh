#!/usr/bin/env bash
# Compares casdm with its peers on the CPU, with one command. See --help.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: benchmarks/run.sh [--quick] [--cases PARTS] [--only TEXT] [--guided-diffusion CHECKOUT] [--continue] [--page]
                         [--out DIR]

Sets up casdm and, in an environment of their own, the peers (benchmarks/requirements.txt: about
6 GB, since the wheel torch brings CUDA's libraries), measures them in turn and prints every figure;
the results go to DIR/results.json. Takes about an hour and a half on two cores, and half an hour of
it compiles the peers' networks (torch.compile).

  --cases parts,start,metrics,loading,sampling,training,gains   only these parts
  --only TEXTS   only cases whose names contain one of these, which | separates: "ssim|16 px"
  --quick        one round of short runs: a trial, not a measurement
  --threads N    threads of every contender (default 2)
  --guided-diffusion CHECKOUT   let guided-diffusion take part in DDPM's training
  --continue     keep the cases that DIR/results.json holds, and measure the others
  --page         also write docs/performance.md and its plot
  --out DIR      default: build/benchmarks-cpu

Close other programs. Real-time priority (chrt) is used where it is allowed.
TEXT
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=$root/build/benchmarks-cpu page=false
options=()
while (($# > 0)); do
  case $1 in
    --quick) options+=(--rounds 1 --seconds 3) ;;
    --cases | --only | --threads) options+=("$1" "${2:?"$1 needs a value"}") && shift ;;
    --guided-diffusion) options+=("$1" "$(realpath "${2:?"$1 needs a folder"}")") && shift ;;
    --continue) options+=("$1") ;;
    --page) page=true ;;
    --out) out=${2:?"--out needs a folder"} && shift ;;
    --help | -h) usage && exit 0 ;;
    *) echo "run.sh: unknown argument '$1'; see --help" >&2 && exit 2 ;;
  esac
  shift
done

bash "$root/tools/setup.sh" --benchmarks
cmake --preset release -S "$root" >/dev/null
cmake --build "$root/build/release" --target casdm_all loading_benchmark metric_benchmark parts_benchmark

python=$(bash "$root/benchmarks/peers.sh")
"$python" "$root/benchmarks/cpu/compare.py" --casdm "$root/build/release/bin/casdm" --peers "$python" --out "$out" \
  "${options[@]}"
if $page; then "$python" "$root/benchmarks/cpu/page.py" "$out/results.json" "$root/docs"; fi
