#!/usr/bin/env bash
# Builds the documentation as a site. See --help.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: tools/site.sh [--out DIR] [--serve]

Builds the pages of the tree as a site: DIR/VERSION/index.html, where VERSION is the project's. Other versions in DIR
are kept, a menu on each page offers them all, and DIR/index.html leads to the latest. The pages can be opened as files;
only their search and that menu need a server. The reference of the SDK's headers is made by Doxygen. A link that leads
nowhere, or a page that no menu reaches, is an error.

  --out DIR   where the site goes (default: build/site/html)
  --serve     then show it at http://localhost:8000 until interrupted
  --help      this text

Needs doxygen; installs mkdocs-material in a virtual environment beside LibTorch's.
TEXT
}

material=9.8.2
mkdocs=1.6.1
serve=false
out=build/site/html
while (($# > 0)); do
  case $1 in
    --out) out=$(realpath -m "${2:?"--out needs a folder"}") && shift ;;
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

version=$(sed -n 's/^project(casdm VERSION \([0-9.]*\) .*/\1/p' CMakeLists.txt)
if [[ -e $out && ! -f $out/versions.json && -n $(ls -A "$out") ]]; then
  echo "site: $out is not a site that this script made: it has content but no versions.json; choose another folder" >&2
  exit 1
fi
rm -rf build/site/source "${out:?}/${version:?}"
mkdir -p build/site/source "$out"
git ls-files -z --cached --others --exclude-standard '*.md' docs configs examples LICENSE NOTICE ':!sdk/templates' |
  xargs -0 cp --parents -t build/site/source
# The theme's library for Markdown does not know the escape \<.
find build/site/source/docs/reference -name '*.md' -exec sed -i 's/\\</\&lt;/g' {} +
# Wide enough for the longest lines of code beside both menus.
echo '.md-grid { max-width: 76rem; }' >build/site/source/site.css
cat >build/site/sdk.md <<TEXT
# Headers of the SDK {#mainpage}

What a plugin may include. Each interface is a class:

$(awk '/^class / { name = $2 } / kind = "/ { print "- @ref casdm::" name }' sdk/include/casdm/*.h)

[All classes](annotated.html), [all files](files.html). What casdm and a component promise each other is in
[Contracts](../docs/plugins/contracts.html); [a tutorial](../docs/plugins/tutorial.html) writes a metric.
[Back to the documentation](../index.html).
TEXT
# Doxygen's pages have no dark mode of their own, and their tables are wider than a phone.
cat >build/site/sdk.css <<'TEXT'
.memproto, div.fragment { overflow-x: auto; }
@media (max-width: 768px) {
  table.memberdecls :is(tbody, tr, td) { display: block; text-align: left; width: auto; white-space: normal; }
  .contents, .header { overflow-wrap: anywhere; }
  .memitem { display: block !important; }
  table.params :is(tbody, tr, td) { display: block; }
}
@media (prefers-color-scheme: dark) {
  html { background: #fff; filter: invert(0.88) hue-rotate(180deg); }
}
TEXT
doxygen - >build/site/doxygen.log 2>&1 <<TEXT
PROJECT_NAME = "casdm SDK"
PROJECT_NUMBER = $version
INPUT = build/site/sdk.md sdk/include/casdm
STRIP_FROM_INC_PATH = sdk/include
OUTPUT_DIRECTORY = build/site/source
HTML_OUTPUT = sdk
HTML_EXTRA_STYLESHEET = build/site/sdk.css
GENERATE_LATEX = NO
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
"$venv/bin/mkdocs" build --strict --site-dir "$(realpath "$out")/$version"

# The list of versions, the latest one first, as the theme reads it.
cd "$out"
mapfile -t versions < <(find . -mindepth 1 -maxdepth 1 -type d -name '[0-9]*' -printf '%f\n' | sort --version-sort --reverse)
for version in "${versions[@]}"; do
  aliases=''
  if [[ $version == "${versions[0]}" ]]; then aliases='"latest"'; fi
  printf '{"version": "%s", "title": "%s", "aliases": [%s]}\n' "$version" "$version" "$aliases"
done | paste -sd , | sed 's/.*/[&]/' >versions.json
ln -sfn "${versions[0]}" latest
cp latest/assets/images/favicon.png favicon.ico # for Doxygen's pages, which name none
echo '<!doctype html><title>casdm</title><meta http-equiv="refresh" content="0; url=latest/index.html">' >index.html
echo "site: $out/index.html"
if $serve; then exec python3 -m http.server --bind 127.0.0.1 8000; fi
