#!/usr/bin/env bash
# Set-up, build, all tests. See --help.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: tests/run.sh [--torch VERSION] [CTEST ARGUMENT]...

Installs what is missing (tools/setup.sh --tests), builds build/release, runs the tests, and repeats what those that hold
a budget have measured.

  --torch VERSION                   with another LibTorch than the default, in build/torch-VERSION

The other arguments are ctest's, which runs two tests more at once than there are processors, since some wait (or
CTEST_PARALLEL_LEVEL):

  tests/run.sh -L fast              only those that take a few seconds each, half a minute together
  tests/run.sh -L 'slow|parity'     only these
  tests/run.sh -R gradient -V       only tests with this in their names, with all output
TEXT
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
build=build/release
setup=() configure=()

case ${1:-} in
  --help | -h) usage && exit 0 ;;
  --torch)
    version=${2:?"--torch needs a version such as 2.15.0"}
    build=build/torch-$version
    setup=(--torch "$version")
    configure=(-B "$build" "-DCASDM_TORCH_RELEASE=$version")
    shift 2
    ;;
esac

bash tools/setup.sh --tests "${setup[@]}"
cmake --preset release -DCASDM_BUILD_TESTS=ON "${configure[@]}"
SECONDS=0
cmake --build "$build"
echo "tests/run.sh: built in $SECONDS s"
status=0
ctest --test-dir "$build" --parallel "${CTEST_PARALLEL_LEVEL:-$(($(nproc) + 2))}" --output-on-failure --no-tests=error "$@" ||
  status=$?
# ctest shows the messages of a test only if it fails, and logs them always.
sed -nE 's/.*MESSAGE: (a (repeated |sampling )?step (of two processes )?(launches|queues) [0-9]+ operators[^:]*).*/tests\/run.sh: \1/p' \
  "$build/Testing/Temporary/LastTest.log"
exit "$status"
