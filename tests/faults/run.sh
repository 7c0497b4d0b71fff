#!/usr/bin/env bash
# Injects faults into the program: see --help and docs/testing.md.
set -euo pipefail
exec python3 -B "$(dirname "${BASH_SOURCE[0]}")/run.py" "$@"
