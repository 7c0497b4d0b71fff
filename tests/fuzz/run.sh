#!/usr/bin/env bash
# Fuzzes everything that reads files from elsewhere. See --help.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: tests/fuzz/run.sh [--seconds N] [--keep] [TARGET]...

Builds build/fuzz with Clang's libFuzzer (Debian: clang-16, libclang-rt-16-dev) and feeds each target, one after another,
with inputs grown from tests/fuzz/corpus. A summary of all ends the output; the exit status is 1 when something was
found. What was found is kept as build/fuzz/found/TARGET/*, and is read again by

  build/fuzz/bin/casdm_fuzz --target=TARGET FILE

  --seconds N   for each target (default: 60)
  --keep        write the inputs that reach something new into tests/fuzz/corpus/TARGET.zip, the smallest ones
  --help        this text
TEXT
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
seconds=60 keep=false chosen=()
while (($# > 0)); do
  case $1 in
    --seconds) seconds=${2:?"--seconds needs a number"} && shift ;;
    --keep) keep=true ;;
    --help | -h) usage && exit 0 ;;
    -*) echo "fuzz: unknown argument '$1'; see tests/fuzz/run.sh --help" >&2 && exit 2 ;;
    *) chosen+=("$1") ;;
  esac
  shift
done

if ! command -v clang++-16 >/dev/null; then
  echo "fuzz: there is no clang++-16 (Debian: clang-16, libclang-rt-16-dev)" >&2
  exit 2
fi
cmake --preset fuzz >/dev/null
cmake --build build/fuzz --target casdm_fuzz
fuzz=$root/build/fuzz/bin/casdm_fuzz

if ((${#chosen[@]} == 0)); then
  for archive in tests/fuzz/corpus/*.zip; do chosen+=("$(basename "$archive" .zip)"); done
fi

# Inputs are written to files for readers of files; in memory where that can be.
if [[ -z ${TMPDIR:-} && -w /dev/shm ]]; then export TMPDIR=/dev/shm; fi
export OMP_NUM_THREADS=1 ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=0
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
limits=(-rss_limit_mb=2048 -malloc_limit_mb=1024 -timeout=10 -max_len=65536)
summary=()
failed=false

for target in "${chosen[@]}"; do
  work=build/fuzz/corpus/$target
  found=build/fuzz/found/$target
  log=build/fuzz/$target.log
  mkdir -p "$work" "$found"
  python3 -c 'import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extractall(sys.argv[2])' \
    "tests/fuzz/corpus/$target.zip" "$work"
  echo "=== $target: $seconds s"
  outcome=0
  "$fuzz" "--target=$target" "$work" -max_total_time="$seconds" -artifact_prefix="$found/" -print_final_stats=1 \
    "${limits[@]}" >"$log" 2>&1 || outcome=$?
  executed=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  covered=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
  if ((outcome == 0)); then
    summary+=("$(printf '%-12s %10s inputs, %6s edges, nothing found' "$target" "${executed:-0}" "${covered:-0}")")
  else
    failed=true
    tail -n 40 "$log"
    summary+=("$(printf '%-12s FOUND: see %s and %s' "$target" "$log" "$found")")
  fi
  if $keep; then
    smallest=$(mktemp -d)
    "$fuzz" "--target=$target" -merge=1 "$smallest" "$work" "${limits[@]}" >>"$log" 2>&1
    python3 "$root/tests/fuzz/pack.py" "$smallest" "tests/fuzz/corpus/$target.zip"
    rm -r "$smallest"
  fi
done

printf '%s\n' "=== fuzz, $seconds s each" "${summary[@]}"
if $failed; then exit 1; fi
