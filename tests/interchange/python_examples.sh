#!/usr/bin/env bash
# python_examples.sh CASDM: runs examples/python on small runs. Exits with 77 if the Python named by
# CASDM_PEERS_PYTHON (default: python3) has no diffusers.
set -euo pipefail
casdm=$1
root=$(cd "$(dirname "$0")/../.." && pwd)
python=(env PYTHONDONTWRITEBYTECODE=1 "${CASDM_PEERS_PYTHON:-python3}")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

sample() {
  "${python[@]}" "$root/examples/python/sample_run.py" "$folder/$1" --casdm "$casdm" --out "$folder/images" \
    --num 8 --steps 10
}

# train NAME KEY=VALUE...: the networks of the quick start, or others, after some steps.
train() {
  local name=$1 settings=() setting
  shift
  for setting in "$@"; do settings+=(--set "$setting"); done
  "$casdm" train "$root/configs/quickstart.toml" --set run.name="$name" --set run.directory="$folder" \
    --set train.total_images=480 --set optimizer.warmup_images=16 --set ema.decay=0.5 \
    --set log.sample_every_images=0 --set log.sample_count=0 \
    --set 'metrics[0].type="ssim"' "${settings[@]}" 2>"$folder/log" || { cat "$folder/log" >&2; exit 1; }
}

"${python[@]}" "$root/examples/python/sample_run.py" --help >/dev/null # 77 without diffusers
train casdm
sample casdm
train residual head.sees_x_t=true head.output=residual head.gate_shape=channel head.gate_activation=clamp noise.type=linear
sample residual
train single 'head={type="single",prediction_type="v_prediction",theta={type="unet",channels=32,channel_mult=[1,2],num_res_blocks=1,attention_resolutions=[8],groups=8}}'
sample single
"${python[@]}" "$root/examples/python/train_theta.py" --casdm "$casdm" --out "$folder/pytorch" --steps 3 \
  --total-images 160 --metric ssim
sample pytorch/run

# What neither script can follow is refused, not drawn wrongly.
train flow noise='{type="flow",t_max=0.999}' sampler.spacing=trailing
if sample flow 2>"$folder/log"; then echo "a flow was drawn with DDIMScheduler" >&2 && exit 1; fi
grep -q "DDIMScheduler has no schedule like this one" "$folder/log"
