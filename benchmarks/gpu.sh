#!/usr/bin/env bash
# Everything that needs a GPU, in one run on one CUDA machine, offline, in under 9 minutes: the kernels against the
# definition, then the benchmarks; all tables again at the end. ./benchmarks/gpu.sh [OUT_DIR]
#
# PYTHON names an interpreter that has PyTorch, Triton and what requirements.txt lists (python3 by default).
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=${1:-gpu-results}
python=${PYTHON:-python3}
mkdir -p "$out"
"$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' || {
    echo "gpu.sh: PyTorch sees no CUDA device here." >&2
    exit 1
}
export PYTHONUNBUFFERED=1 # so that a stage whose time runs out leaves what it had
failed=0
stage() { # name, seconds it may take, command
    local name=$1 limit=$2
    shift 2
    echo "== $name"
    if ! timeout -k 5 "$limit" "$@" 2>&1 | tee "$out/$name.txt"; then
        echo "gpu.sh: $name failed or took longer than $limit s" | tee -a "$out/$name.txt"
        failed=1
    fi
}
stage check 85 "$python" -m museformer_plugin
stage kernels 115 "$python" -m pytest -q tests/museformer_plugin/fc_attention/triton --import-mode=importlib
stage graphs 25 "$python" -m pytest -q tests/museformer_plugin/test_recorded_steps.py --import-mode=importlib
stage attention 140 "$python" -m benchmarks.attention --device cuda --dtype bfloat16 --lengths 1024,5120,15360,36864 \
    --json "$out/attention.json"
stage training 95 "$python" -m benchmarks.training --device cuda --dtype float16 --lengths 15360 36864 \
    --json "$out/training.json"
stage generation 75 "$python" -m benchmarks.generation --device cuda --streams 1 64 --lengths 1000 3000 \
    --json "$out/generation.json"
echo
echo "== all tables, $(git rev-parse --short HEAD 2>/dev/null), $(nvidia-smi --query-gpu=name --format=csv,noheader)"
grep -h '^|' "$out"/{attention,training,generation}.txt
exit "$failed"
