#!/bin/sh
# precompile.sh COMMAND...: runs a compiler, and writes a checksum beside the precompiled header that it makes. Without it,
# ccache reads all of the header, 390 MB, for each file that uses it.
set -e
"$@"
previous=
for word; do
  case "$previous $word" in
    "-o "*.[gp]ch) sha256sum <"$word" >"$word.sum" ;;
  esac
  previous=$word
done
