#!/usr/bin/env bash
# The Debian packages: made of a build, looked at, unpacked elsewhere and used there.
#
#   tests/package/deb.sh BUILD     BUILD is a build folder of casdm in which everything is built
set -euo pipefail

if [[ -z ${IS_ALONE:-} ]]; then exec env -i HOME="$HOME" PATH="$PATH" IS_ALONE=1 bash "$0" "$@"; fi

build=$(cd "${1:?"usage: tests/package/deb.sh BUILD"}" && pwd)
source=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
for program in dpkg-shlibdeps file; do
  command -v "$program" >/dev/null && continue
  echo "skipped: there is no $program (Debian: dpkg-dev, file)"
  exit 77
done
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# shellcheck source=tests/package/common.sh
source "$source/tests/package/common.sh"
torch=$(sed -n 's/^set(_casdm_libtorch "\(.*\)")$/\1/p' "$build/sdk/casdmLibTorch.cmake")
release=$(sed -n "s/^__version__ = '\([0-9.]*\).*/\1/p" "$torch/version.py")
export XDG_STATE_HOME=$scratch/state
usr=$scratch/root/usr

# has FILE FIELD TEXT...: the field of the package holds each of the texts.
has() {
  local file=$1 field=$2 value text
  value=$(dpkg-deb --field "$file" "$field")
  shift 2
  for text in "$@"; do [[ ", $value," == *"$text"* ]] || fail "$(basename "$file"): $field lacks '$text': $value"; done
}

look() {
  "$source/tools/deb.sh" --build "$build" --out "$scratch/packages" >"$scratch/names"
  local program library file
  program=$(grep '/casdm_' "$scratch/names")
  library=$(grep '/casdm-dev_' "$scratch/names")
  [[ $(wc -l <"$scratch/names") == 2 ]] || fail "not two packages: $(cat "$scratch/names")"
  has "$program" Package casdm
  [[ $(dpkg-deb --field "$program" Maintainer) == "The casdm authors" ]] || fail "another maintainer than in NOTICE"
  has "$program" Depends ", libc6 (>=" ", libstdc++6 (>=" ", libzip4 " ", libjpeg62-turbo " ", libssl3 "
  if dpkg-deb --field "$program" Depends | grep -qE 'torch|cuda|libicu|casdm'; then fail "a dependency that Debian lacks"; fi
  has "$library" Depends "casdm (= $(dpkg-deb --field "$program" Version))" ", cmake (>= 3.25)" ", g++-"
  for file in "$program" "$library"; do
    dpkg-deb --contents "$file" >"$scratch/contents"
    if grep -vE '^.r[w-].r-.r-. root/root |^lrwx' "$scratch/contents"; then fail "wrong rights or owners in $file"; fi
    if grep -oE ' \./.*' "$scratch/contents" | grep -vE '^ \./(usr/((bin|lib|libexec|include|share)/.*)?)?$'; then
      fail "$file has files outside of /usr"
    fi
    grep -qE " \./usr/share/doc/$(dpkg-deb --field "$file" Package)/copyright$" "$scratch/contents" || fail "no copyright in $file"
    quietly dpkg-deb --extract "$file" "$scratch/root"
  done
  for file in man/man1/casdm-train.1.gz bash-completion/completions/casdm fish/vendor_completions.d/casdm.fish \
    zsh/vendor-completions/_casdm doc/casdm/licences/{libarchive,nlohmann-json3,tomlplusplus}; do
    [[ -s $usr/share/$file ]] || fail "the packages hold no usr/share/$file"
  done
  [[ -z $(find "$usr" -name 'libtorch*.so*' -o -name 'libc10*') ]] || fail "the packages hold LibTorch"
  if grep -rlIE -e "$(within "$build")" -e "$(within "$source")" -e "$(within "$(dirname "$torch")")" "$usr"; then
    fail "the files above name folders of this machine"
  fi
}

use() {
  refused "built with LibTorch $release" "there is no torch in $usr/lib/casdm" "ln -sfn" -- "$usr/bin/casdm" plugins doctor
  ln -s "$torch" "$usr/lib/casdm/torch"
  cd "$scratch"
  quietly "$usr/bin/casdm" plugins doctor
  quietly bash "$source/tests/package/runpath.sh" "$usr/bin/casdm" "$usr/bin" "$usr/lib" "$usr/libexec"
  quietly "$usr/bin/casdm" plugins new --kind sampler my_sampler
  quietly cmake -S my_sampler -B my_sampler/build -DCMAKE_PREFIX_PATH="$usr"
  grep -rqF "$torch/lib" my_sampler/build || fail "the SDK has not found LibTorch where the program does"
}

look
echo "ok: $(xargs -n 1 basename <"$scratch/names" | paste -sd ' ')"
use
echo "deb: all passed in $SECONDS s"
