#!/usr/bin/env bash
# Tests under sanitizers, and how much of the sources they reach. See --help.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: tools/sanitizers.sh [--tests | --report] [CTEST ARGUMENT]...

Builds build/sanitizers with Clang's address and undefined-behaviour sanitizers and runs the test programs with the
labels fast and medium (or those that the arguments choose, such as -L slow); any finding is a failure. Then prints how
many lines and functions they reached, by folder, and writes build/sanitizers/coverage/index.html.
Needs Debian's clang-16, libclang-rt-16-dev and llvm-16.

  --tests    only the tests
  --report   only the report, of tests that have run already
  --help     this text
TEXT
}

parts=(tests report)
case ${1:-} in
  --help | -h) usage && exit 0 ;;
  --tests | --report) parts=("${1#--}") && shift ;;
esac
if [[ ${parts[*]} == report && $# -gt 0 ]]; then
  echo "sanitizers: --report takes no other arguments" >&2
  exit 2
fi
if [[ -n ${1:-} && ! $1 =~ ^-[LREI] && $1 != --label-* && $1 != --tests-* ]]; then
  echo "sanitizers: '$1' chooses no tests; see tools/sanitizers.sh --help" >&2
  exit 2
fi
for program in clang++-16 llvm-profdata-16 llvm-cov-16; do
  command -v "$program" >/dev/null && continue
  echo "sanitizers: there is no $program (Debian: clang-16, libclang-rt-16-dev, llvm-16)" >&2
  exit 2
done

cd "$(dirname "${BASH_SOURCE[0]}")/.."
build=build/sanitizers
if (($# == 0)); then set -- -L 'fast|medium'; fi

# The chosen tests that are programs of their own: scripts, and those that look at libraries, have nothing to find.
tests() {
  local programs chosen pattern
  cmake --preset sanitizers -DCASDM_BUILD_TESTS=ON >/dev/null
  programs=$(ninja -C "$build" -t targets all | sed -n 's/: phony$//p' | sort -u)
  chosen=$(ctest --test-dir "$build" -N "$@" | sed -n 's/^ *Test *#[0-9]*: *\([^.]*\).*/\1/p' | sort -u)
  mapfile -t chosen < <(comm -12 <(echo "$programs") <(echo "$chosen"))
  if ((${#chosen[@]} == 0)); then
    echo "sanitizers: no test program was chosen by: $*" >&2
    return 2
  fi
  cmake --build "$build" --target casdm_all "${chosen[@]}"
  rm -rf "$build/profiles"
  pattern=$(IFS='|' && echo "${chosen[*]}")
  OMP_NUM_THREADS=1 LLVM_PROFILE_FILE=$PWD/$build/profiles/%m.profraw \
    ctest --preset sanitizers --parallel "${CTEST_PARALLEL_LEVEL:-$(nproc)}" --no-tests=error -R "^($pattern)(\.[0-9]+)?\$"
}

# summary OBJECT...: a line for each folder.
summary() {
  local folder
  for folder in sdk framework plugins; do
    llvm-cov-16 export -summary-only -instr-profile="$build/all.profdata" "$@" -sources "$PWD/$folder" |
      python3 -c '
import json, sys
totals = json.load(sys.stdin)["data"][0]["totals"]
parts = ["%s %.1f %% of %d" % (kind, totals[kind]["percent"], totals[kind]["count"]) for kind in ("lines", "functions")]
print(sys.argv[1] + ": " + ", ".join(parts))' "$folder"
  done
}

report() {
  local objects=() file
  if ! compgen -G "$build/profiles/*.profraw" >/dev/null; then
    echo "sanitizers: no test has run yet; see tools/sanitizers.sh --help" >&2
    return 2
  fi
  llvm-profdata-16 merge -sparse -o "$build/all.profdata" "$build"/profiles/*.profraw
  for file in "$build"/bin/casdm "$build"/lib/*.so "$build"/lib/casdm/plugins/*.so; do objects+=(-object "$file"); done
  rm -rf "$build/coverage"
  llvm-cov-16 show -format=html -output-dir="$build/coverage" -instr-profile="$build/all.profdata" "${objects[@]}" \
    -sources "$PWD/sdk" "$PWD/framework" "$PWD/plugins" >/dev/null
  summary "${objects[@]}"
  echo "coverage: $build/coverage/index.html"
}

for part in "${parts[@]}"; do "$part" "$@"; done
