#!/usr/bin/env bash
# How much of the sources the short tests reach. See --help.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: tools/coverage.sh [CTEST ARGUMENT]...

Builds build/coverage with gcov's counters, runs the short tests (or those that the arguments choose, such as -L
'fast|slow') and writes build/coverage/html/index.html. The lines and functions reached are printed, by folder.
Needs lcov (Debian: lcov).
TEXT
}

case ${1:-} in
  --help | -h) usage && exit 0 ;;
esac
for program in lcov genhtml; do
  command -v "$program" >/dev/null && continue
  echo "coverage: there is no $program (Debian: lcov)" >&2
  exit 2
done

cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
if (($# == 0)); then set -- -L 'fast|medium'; fi
cmake --preset coverage -DCASDM_BUILD_TESTS=ON >/dev/null
cmake --build build/coverage
find build/coverage -name '*.gcda' -delete
failed=false
OMP_NUM_THREADS=1 ctest --test-dir build/coverage --output-on-failure --no-tests=error "$@" || failed=true

lcov --quiet --capture --directory build/coverage --base-directory "$root" --no-external \
  --output-file build/coverage/all.info 2>/dev/null
lcov --quiet --extract build/coverage/all.info "$root/framework/*" "$root/plugins/*" "$root/sdk/*" \
  --output-file build/coverage/own.info
genhtml --quiet --prefix "$root" --output-directory build/coverage/html build/coverage/own.info
for part in sdk framework plugins; do
  lcov --quiet --extract build/coverage/own.info "$root/$part/*" --output-file build/coverage/part.info
  lcov --summary build/coverage/part.info 2>&1 | sed -n "s/^ *\(lines\|functions\)\.*: */$part: \1 /p"
done
echo "coverage: build/coverage/html/index.html"
if $failed; then exit 1; fi
