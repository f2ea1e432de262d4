#!/usr/bin/env bash
# Trains the rotary model of paper size on one CUDA machine for less than ten minutes, offline, and goes on in the next
# run: ./benchmarks/gpu_train.sh OUT DATA_BIN [--go-on-from OUT_OF_BEFORE] [options: --help]
#
# OUT gets the checkpoint in parts, the losses so far, songs and a table; each file is small enough to be carried.
# PYTHON and WHEELS are those of gpu.sh.
set -uo pipefail
python=${PYTHON:-python3}
if (($# < 2)) && [[ ${1:-} != --help ]]; then
    echo "Usage: gpu_train.sh OUT DATA_BIN [options of benchmarks/gpu/train_run.py]" >&2
    exit 2
fi
export PYTHONPATH=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)${PYTHONPATH:+:$PYTHONPATH}
exec "$python" -u -m benchmarks.gpu.train_run "$@" ${WHEELS:+--wheels "$WHEELS"}
