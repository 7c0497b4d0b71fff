#!/usr/bin/env bash
# Checks a version and tags it. See --help.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: tools/release.sh VERSION [--check]

Makes the release VERSION (such as 0.2.0) of the commit that is checked out:
  1. checks that VERSION is the project's in CMakeLists.txt and CITATION.cff, has its section with a date in
     CHANGELOG.md and its folder in tests/compat, is later than the last tag, and that nothing is uncommitted
  2. runs .ci/run all
  3. writes build/release-VERSION: a source archive, the wheel, the Debian packages, the bill of materials (SPDX) and
     SHA256SUMS
  4. makes the annotated tag vVERSION, whose text is the section of the changelog

Nothing is published: push the tag yourself.

  --check   only 1
  --help    this text
TEXT
}

version='' check_only=false
while (($# > 0)); do
  case $1 in
    --check) check_only=true ;;
    --help | -h) usage && exit 0 ;;
    -*) echo "release: unknown argument '$1'; see tools/release.sh --help" >&2 && exit 2 ;;
    *) version=$1 ;;
  esac
  shift
done
if [[ ! $version =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]]; then
  echo "release: expected a version such as 0.2.0, got '$version'; see tools/release.sh --help" >&2
  exit 2
fi

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
problems=()

declared=$(sed -n 's/^project(casdm VERSION \([0-9.]*\) .*/\1/p' CMakeLists.txt)
if [[ $declared != "$version" ]]; then problems+=("CMakeLists.txt: the project's version is $declared"); fi
if ! grep -qx "version: $version" CITATION.cff; then problems+=("CITATION.cff: there is no line 'version: $version'"); fi

changes=$(awk -v heading="## [$version] - " '
  index($0, heading) == 1 { inside = 1; next }
  inside && /^## / { exit }
  inside' CHANGELOG.md)
date=$(sed -n "s/^## \[${version//./\\.}\] - \([0-9]\{4\}-[0-9]\{2\}-[0-9]\{2\}\)\$/\1/p" CHANGELOG.md)
if [[ -z ${changes//[[:space:]]/} || -z $date ]]; then
  problems+=("CHANGELOG.md: there is no section '## [$version] - YYYY-MM-DD' with changes in it")
elif ! grep -qx "date-released: $date" CITATION.cff; then
  problems+=("CITATION.cff: there is no line 'date-released: $date', the date in CHANGELOG.md")
fi
if [[ -n $(awk '/^## \[Unreleased\]/ { inside = 1; next } inside && /^## / { exit } inside' CHANGELOG.md |
  tr -d '[:space:]') ]]; then
  problems+=("CHANGELOG.md: changes stand below [Unreleased]; move them into the section of the version")
fi

for file in experiment.toml run plugin.so; do
  [[ -e tests/compat/$version/$file ]] || problems+=("tests/compat/$version: there is no $file; see tests/compat/README.md")
done

last=$(git tag --list 'v*' --sort=-version:refname | head -n 1)
if [[ -n $last && $(printf '%s\n' "${last#v}" "$version" | sort --version-sort | tail -n 1) != "$version" ]]; then
  problems+=("git: the last tag, $last, is later")
fi
if git rev-parse --quiet --verify "refs/tags/v$version" >/dev/null; then
  problems+=("git: there is a tag v$version already")
fi
if [[ -n $(git status --porcelain) ]]; then problems+=("git: there are changes that are not committed"); fi

if ((${#problems[@]} > 0)); then
  printf 'release: %s\n' "${problems[@]}" >&2
  exit 1
fi
echo "release: $version can be released"
if $check_only; then exit 0; fi

bash .ci/run all

out=build/release-$version
rm -rf "$out"
mkdir -p "$out"
git archive --format=tar.gz --prefix="casdm-$version/" --output="$out/casdm-$version.tar.gz" HEAD
bash tools/setup.sh --packages
bash tools/wheel.sh --build build/release --out "$out"
bash tools/deb.sh --build build/release --out "$out"
prefix=$(mktemp -d)
trap 'rm -rf "$prefix"' EXIT
cmake --install build/release --prefix "$prefix" >/dev/null
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) python3 -B tools/sbom.py "$prefix" >"$out/casdm-$version.spdx.json"
(cd "$out" && sha256sum -- * >SHA256SUMS)

printf 'casdm %s\n\n%s\n' "$version" "$changes" | git tag --annotate "v$version" --cleanup=whitespace --file=-
echo "release: tagged v$version; the files are in $out. Publish with: git push origin v$version"
