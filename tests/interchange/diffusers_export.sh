#!/usr/bin/env bash
# diffusers_export.sh TEST_PROGRAM: lets diffusers load our exports and compares what both compute. Ends with status 77
# if diffusers is missing from the Python named by CASDM_PEERS_PYTHON (default: python3).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
CASDM_EXPORT_DIR=$folder "$1" --test-case="exports *for diffusers itself*" > "$folder.log" || { cat "$folder.log"; exit 1; }
rm -f "$folder.log"
"${CASDM_PEERS_PYTHON:-python3}" "$here/../parity/diffusers_models.py" check "$folder"
