#!/usr/bin/env bash
# Builds the documentation as a site. See --help.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: tools/site.sh [--serve]

Builds the pages of the tree as a site: build/site/html/index.html. It opens from a disk, except for its
search, which needs a server. The reference of the SDK's headers is made by Doxygen. A link that leads nowhere, or a page that no menu
reaches, is an error.

  --serve   show it at http://localhost:8000 until interrupted
  --help    this text

Needs doxygen; installs mkdocs-material in a virtual environment beside LibTorch's.
TEXT
}

material=9.8.2
mkdocs=1.6.1
serve=false
while (($# > 0)); do
  case $1 in
    --serve) serve=true ;;
    --help | -h) usage && exit 0 ;;
    *) echo "site: unknown argument '$1'; see tools/site.sh --help" >&2 && exit 2 ;;
  esac
  shift
done
if ! command -v doxygen >/dev/null; then
  echo "site: doxygen is missing; install it with: apt-get install doxygen" >&2
  exit 1
fi

cd "$(dirname "${BASH_SOURCE[0]}")/.."
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0=$PWD NO_MKDOCS_2_WARNING=1
cache=${CASDM_CACHE:-${XDG_CACHE_HOME:-${HOME:?"HOME is not set; set it or CASDM_CACHE"}/.cache}/casdm}
venv=$cache/site-$material
if [[ ! -x $venv/bin/mkdocs ]]; then
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "mkdocs==$mkdocs" "mkdocs-material==$material"
fi

rm -rf build/site
mkdir -p build/site/source
git ls-files -z --cached --others --exclude-standard '*.md' docs configs examples LICENSE NOTICE ':!sdk/templates' |
  xargs -0 cp --parents -t build/site/source
version=$(sed -n 's/^project(casdm VERSION \([0-9.]*\) .*/\1/p' CMakeLists.txt)
doxygen - >build/site/doxygen.log 2>&1 <<TEXT
PROJECT_NAME = "casdm SDK"
PROJECT_NUMBER = $version
INPUT = sdk/include/casdm
STRIP_FROM_INC_PATH = sdk/include
OUTPUT_DIRECTORY = build/site/source
HTML_OUTPUT = sdk
GENERATE_LATEX = NO
GENERATE_TREEVIEW = YES
EXTRACT_ALL = YES
JAVADOC_AUTOBRIEF = YES
BUILTIN_STL_SUPPORT = YES
ENABLE_PREPROCESSING = YES
MACRO_EXPANSION = YES
EXPAND_ONLY_PREDEF = YES
PREDEFINED = CASDM_API=
QUIET = YES
WARN_IF_UNDOCUMENTED = NO
HAVE_DOT = NO
TEXT
if $serve; then exec "$venv/bin/mkdocs" serve --strict; fi
"$venv/bin/mkdocs" build --strict
echo "site: build/site/html/index.html"
