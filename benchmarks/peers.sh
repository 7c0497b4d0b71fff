#!/usr/bin/env bash
# Prints the path of a Python with the peers of the benchmarks (requirements.txt): CASDM_PEERS_PYTHON, or that of an
# environment of their own, about 6 GB, which it sets up.
set -euo pipefail
cache=${CASDM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/casdm}
python=${CASDM_PEERS_PYTHON:-$cache/peers/bin/python}
has_peers() { "$python" -c 'import importlib.util as u, sys; sys.exit(u.find_spec("diffusers") is None)' 2>/dev/null; }
if [[ -z ${CASDM_PEERS_PYTHON:-} ]] && ! has_peers; then
  python3 -m venv "$cache/peers" >&2
  "$cache/peers/bin/pip" install --quiet -r "$(dirname "${BASH_SOURCE[0]}")/requirements.txt" >&2
fi
echo "$python"
