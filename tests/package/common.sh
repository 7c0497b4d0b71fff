# shellcheck shell=bash
# Sourced by the tests of packages. They set `scratch`, a folder for temporary files.
# shellcheck disable=SC2154

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

# quietly COMMAND...: shows what the command printed only if it fails.
quietly() {
  "$@" >"$scratch/log" 2>&1 || {
    cat "$scratch/log" >&2
    fail "$*"
  }
}

# refused TEXT... -- COMMAND...: the command must fail and print each of the texts.
refused() {
  local texts=()
  while [[ $1 != -- ]]; do texts+=("$1") && shift; done
  shift
  if "$@" >"$scratch/log" 2>&1; then fail "not refused: $*"; fi
  local text
  # CMake breaks lines anywhere.
  for text in "${texts[@]}"; do
    tr -s '[:space:]' ' ' <"$scratch/log" | grep -qF -- "$text" || {
      cat "$scratch/log" >&2
      fail "refused, but without the words '$text': $*"
    }
  done
}

# within FOLDER: a pattern for grep -E, for the folder and what is in it, but not for another one whose name begins alike.
within() { printf '%s([^[:alnum:]_.-]|$)' "$(sed 's/[^[:alnum:]_/-]/\\&/g' <<<"$1")"; }
