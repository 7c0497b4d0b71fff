#!/usr/bin/env bash
# What neither the compiler nor a test checks. See --help.
# shellcheck disable=SC2317  # `check` calls the functions
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: tools/lint.sh

  1. clang-format 14 on all C++; `clang-format -i FILE` formats a file
  2. the rules of .editorconfig on all text: trailing blanks, tabs, line ends, the end of the file
  3. shellcheck on all shell scripts
  4. pyflakes on all Python

  --help           this text

`tools/setup.sh --lint` installs the tools.
TEXT
}

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# The checkout of a container may belong to another user.
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0=$PWD
failures=0

while (($# > 0)); do
  case $1 in
    --help | -h) usage && exit 0 ;;
    *) echo "lint: unknown argument '$1'; see tools/lint.sh --help" >&2 && exit 2 ;;
  esac
  shift
done

# need PROGRAM PACKAGE
need() {
  command -v "$1" >/dev/null && return
  echo "lint: there is no $1 (Debian: $2); tools/setup.sh --lint installs it" >&2
  exit 2
}

# check NAME COMMAND...
check() {
  local name=$1 started=$SECONDS
  shift
  if "$@"; then
    echo "lint: $name: ok ($((SECONDS - started)) s)"
  else
    echo "lint: $name: FAILED"
    failures=$((failures + 1))
  fi
}

# files PATTERN...: the repository's files, and new ones that git does not ignore, each ending in a NUL byte.
files() { git ls-files -z --cached --others --exclude-standard --deduplicate -- "$@"; }

format() { files '*.cpp' '*.h' | xargs -0 clang-format --dry-run -Werror; }

text_rules() {
  local status=0 rule
  # A tab may stand inside a line: in the text of a test.
  for rule in 'blanks at the end of the line:[ \t]+$' 'tab:^ *\t' 'carriage return:\r'; do
    if git grep --untracked -nIP -e "${rule##*:}" | sed "s/\$/   <- ${rule%%:*}/"; then status=1; fi
  done
  git grep --untracked -lzI -e '' | python3 -c '
import sys
open_ended = [f for f in sys.stdin.read().split("\0") if f and not open(f, "rb").read().endswith(b"\n")]
sys.exit("".join(f"{f}: no line break at its end\n" for f in open_ended) or None)' || status=1
  return "$status"
}

scripts() { { files '*.sh' && printf '.ci/run\0'; } | xargs -0 shellcheck; }

python() { files '*.py' | xargs -0 pyflakes3; }

need git git
need clang-format clang-format
need shellcheck shellcheck
need pyflakes3 pyflakes3
if [[ $(clang-format --version) != *"version 14."* ]]; then
  echo "lint: clang-format 14 is needed, since others format otherwise; this is $(clang-format --version)" >&2
  exit 2
fi
check clang-format format
check .editorconfig text_rules
check shellcheck scripts
check pyflakes python
exit $((failures > 0))
