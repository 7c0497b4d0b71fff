#!/usr/bin/env bash
# Set-up, build, all tests. See --help.
set -euo pipefail

if [[ ${1:-} == --help || ${1:-} == -h ]]; then
  cat <<'TEXT'
Usage: tests/run.sh [CTEST ARGUMENT]...

Installs what is missing (tools/setup.sh), builds build/release, runs the tests.
Arguments are ctest's:

  tests/run.sh -L fast              only tests that take less than a minute together
  tests/run.sh -L 'slow|parity'     only these
  tests/run.sh -R gradient -V       only tests with this in their names, with all output
TEXT
  exit 0
fi

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

bash tools/setup.sh
cmake --preset release -DCASDM_BUILD_TESTS=ON
SECONDS=0
cmake --build --preset release
echo "tests/run.sh: built in $SECONDS s"
exec ctest --preset release --no-tests=error "$@"
