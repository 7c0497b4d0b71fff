#!/usr/bin/env bash
# Fuzzes everything that reads files from elsewhere. See --help.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: tests/fuzz/run.sh [--seconds N] [--jobs N] [--keep] [TARGET]...

Builds casdm_fuzz in build/sanitizers with Clang's libFuzzer (Debian: clang-16, libclang-rt-16-dev) and feeds the targets,
several at a time, with inputs grown from tests/fuzz/corpus. The output of each is in build/fuzz/TARGET.log. The output of
this script ends with a summary of all; the exit status is 1 if something was found. What was found is kept as
build/fuzz/found/TARGET/*, and is read again by

  build/sanitizers/bin/casdm_fuzz --target=TARGET FILE

  --seconds N   for each target (default: 60)
  --jobs N      targets at a time, one core each (default: as many as there are cores)
  --keep        write the inputs that reach something new into tests/fuzz/corpus/TARGET.zip, the smallest ones
  --help        this text
TEXT
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
seconds=60 jobs=$(nproc) keep=false chosen=()
while (($# > 0)); do
  case $1 in
    --seconds) seconds=${2:?"--seconds needs a number"} && shift ;;
    --jobs) jobs=${2:?"--jobs needs a number"} && shift ;;
    --keep) keep=true ;;
    --help | -h) usage && exit 0 ;;
    -*) echo "fuzz: unknown argument '$1'; see tests/fuzz/run.sh --help" >&2 && exit 2 ;;
    *) chosen+=("$1") ;;
  esac
  shift
done

if [[ ! $seconds =~ ^[1-9][0-9]*$ || ! $jobs =~ ^[1-9][0-9]*$ ]]; then
  echo "fuzz: --seconds and --jobs need a number of at least 1, got '$seconds' and '$jobs'" >&2
  exit 2
fi
for target in "${chosen[@]}"; do
  if [[ ! -f tests/fuzz/corpus/$target.zip ]]; then
    echo "fuzz: there is no target '$target'; the targets are the archives of tests/fuzz/corpus" >&2
    exit 2
  fi
done
if ! command -v clang++-16 >/dev/null; then
  echo "fuzz: there is no clang++-16 (Debian: clang-16, libclang-rt-16-dev)" >&2
  exit 2
fi
cmake --preset sanitizers -DCASDM_BUILD_TESTS=ON >/dev/null
cmake --build build/sanitizers --target casdm_fuzz
fuzz=$root/build/sanitizers/bin/casdm_fuzz

if ((${#chosen[@]} == 0)); then
  for archive in tests/fuzz/corpus/*.zip; do chosen+=("$(basename "$archive" .zip)"); done
fi

# Inputs are written to files for readers of files; in memory where that can be.
if [[ -z ${TMPDIR:-} && -w /dev/shm ]]; then export TMPDIR=/dev/shm; fi
export OMP_NUM_THREADS=1 ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=0
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export LLVM_PROFILE_FILE=/dev/null
limits=(-rss_limit_mb=2048 -malloc_limit_mb=1024 -timeout=10 -max_len=65536)
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
trap 'jobs -p | xargs -r kill 2>/dev/null; exit 130' INT TERM

# smallest_inputs TARGET: packs those of build/fuzz/corpus/TARGET that together reach everything.
smallest_inputs() {
  local smallest
  smallest=$(mktemp -d)
  "$fuzz" "--target=$1" -merge=1 "$smallest" "build/fuzz/corpus/$1" "${limits[@]}" >>"build/fuzz/$1.log" 2>&1
  python3 tests/fuzz/pack.py "$smallest" "tests/fuzz/corpus/$1.zip"
  rm -r "$smallest"
}

# feed TARGET: its line of the summary becomes $results/TARGET, and $results/TARGET.found marks a finding.
feed() {
  local target=$1 work=build/fuzz/corpus/$1 found=build/fuzz/found/$1 log=build/fuzz/$1.log outcome=0 executed covered
  mkdir -p "$work" "$found"
  python3 -c 'import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extractall(sys.argv[2])' \
    "tests/fuzz/corpus/$target.zip" "$work"
  trap 'kill "$!" 2>/dev/null; exit 130' TERM
  "$fuzz" "--target=$target" "$work" -max_total_time="$seconds" -artifact_prefix="$found/" -print_final_stats=1 \
    "${limits[@]}" >"$log" 2>&1 &
  wait "$!" || outcome=$?
  executed=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  covered=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
  local outcome_in_words='nothing found'
  if ((outcome != 0)); then
    outcome_in_words="FOUND: see $log and $found"
    touch "$results/$target.found"
  fi
  printf '%-12s %6d s %10s inputs %6s edges  %s\n' "$target" "$seconds" "${executed:-0}" "${covered:-0}" "$outcome_in_words" \
    >"$results/$target"
  echo "=== $target: $outcome_in_words"
  if $keep; then smallest_inputs "$target"; fi
}

broken=0 running=0
for target in "${chosen[@]}"; do
  if ((running == jobs)); then
    wait -n || broken=1
    running=$((running - 1))
  fi
  echo "=== $target: $seconds s"
  feed "$target" &
  running=$((running + 1))
done
while ((running > 0)); do
  wait -n || broken=1
  running=$((running - 1))
done

echo "=== fuzz, $seconds s each, $jobs at a time"
for target in "${chosen[@]}"; do
  if [[ -f $results/$target.found ]]; then
    broken=1
    tail -n 40 "build/fuzz/$target.log"
  fi
done
for target in "${chosen[@]}"; do cat "$results/$target" || broken=1; done
exit "$broken"
