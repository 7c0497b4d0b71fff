#!/usr/bin/env bash
# Usage: processes.sh N COMMAND...     N processes of COMMAND on this machine, with the environment that torchrun sets
set -u
export WORLD_SIZE=$1 LOCAL_WORLD_SIZE=$1 MASTER_ADDR=127.0.0.1 MASTER_PORT=${MASTER_PORT:-29500}
for ((rank = 0; rank < WORLD_SIZE; ++rank)); do
  RANK=$rank LOCAL_RANK=$rank "${@:2}" & processes+=("$!")
done
trap : INT # the processes receive it themselves
trap 'kill "${processes[@]}"' TERM
status=0
for process in "${processes[@]}"; do wait "$process" || wait "$process" || status=$?; done
exit "$status"
