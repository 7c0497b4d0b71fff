#!/usr/bin/env bash
# tools/release.sh --check in a clone: accepts a version that is ready, and otherwise names what is not.
#
#   tests/package/release.sh
set -euo pipefail

source=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export GIT_CONFIG_COUNT=4 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*' GIT_CONFIG_KEY_1=user.name \
  GIT_CONFIG_VALUE_1=test GIT_CONFIG_KEY_2=user.email GIT_CONFIG_VALUE_2=test@localhost \
  GIT_CONFIG_KEY_3=core.hooksPath GIT_CONFIG_VALUE_3=/dev/null
if ! git -C "$source" rev-parse --verify --quiet HEAD >/dev/null; then
  echo "skipped: $source is no checkout of git"
  exit 77
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# shellcheck source=tests/package/common.sh
source "$source/tests/package/common.sh"
clone=$scratch/clone
version=$(sed -n 's/^project(casdm VERSION \([0-9.]*\) .*/\1/p' "$source/CMakeLists.txt")

# The working tree as it is, with all changes in the section of the version.
ready_clone() {
  quietly git clone --quiet --no-tags --depth 1 "file://$source" "$clone"
  cp "$source"/{CHANGELOG.md,CITATION.cff,CMakeLists.txt} "$clone/"
  cp "$source/tools/release.sh" "$clone/tools/"
  python3 - "$clone/CHANGELOG.md" "$version" <<'PYTHON'
import re
import sys

path, version = sys.argv[1:]
text = open(path, encoding="utf-8").read()
text, count = re.subn(rf"(## \[Unreleased\]\n)(.*?)(## \[{re.escape(version)}\] - [0-9-]+\n)", r"\1\n\3\2", text, flags=re.DOTALL)
open(path, "w", encoding="utf-8").write(text)
sys.exit(None if count == 1 else f"no section of {version} follows [Unreleased]")
PYTHON
  quietly git -C "$clone" commit --quiet --all --allow-empty --message "Ready"
}

check() { bash "$clone/tools/release.sh" "${1:-$version}" --check; }

# not_ready TEXT COMMAND...: after the command, run in the clone, the check must say the text and nothing else.
not_ready() {
  local text=$1
  shift
  (cd "$clone" && quietly "$@")
  if [[ $1 != touch ]]; then quietly git -C "$clone" commit --quiet --all --allow-empty --message "Not ready"; fi
  refused "release: $text" -- check
  (($(wc -l <"$scratch/log") == 1)) || fail "more than '$text' is said: $(cat "$scratch/log")"
  quietly git -C "$clone" clean -qfd
  quietly git -C "$clone" reset --quiet --hard ready
}

ready_clone
quietly git -C "$clone" tag ready
quietly check
grep -qx "release: $version can be released" "$scratch/log" || fail "does not say that $version can be released"
not_ready "CMakeLists.txt: the project's version is 9.8.7" sed -i "s/VERSION $version /VERSION 9.8.7 /" CMakeLists.txt
not_ready "CITATION.cff: there is no line 'version: $version'" sed -i "/^version: /d" CITATION.cff
not_ready "CITATION.cff: there is no line 'date-released: " sed -i "/^date-released: /d" CITATION.cff
not_ready "CHANGELOG.md: there is no section '## [$version] - " sed -i "s/^## \[$version\]/## [9.8.7]/" CHANGELOG.md
not_ready "CHANGELOG.md: changes stand below [Unreleased]" sed -i 's/^## \[Unreleased\]/&\n\n- A change./' CHANGELOG.md
not_ready "tests/compat/$version: there is no plugin.so" git rm -q "tests/compat/$version/plugin.so"
not_ready "git: there are changes that are not committed" touch new
not_ready "git: the last tag, v99.0.0, is later" git tag v99.0.0
quietly git -C "$clone" tag --delete v99.0.0
not_ready "git: there is a tag v$version already" git tag "v$version"
refused "expected a version such as" -- check 1.2
refused "unknown argument" -- bash "$clone/tools/release.sh" "$version" --chekc
echo "release: all passed in $SECONDS s"
