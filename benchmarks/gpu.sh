#!/usr/bin/env bash
# Everything that needs a GPU, in one run on one CUDA machine, offline, in under 9 minutes: ./benchmarks/gpu.sh [OUT]
#
# The kernels against the definition, then the benchmarks, the most valuable first. Every row is printed and on the disk
# as soon as it is measured, whatever happens later; OUT gets a table, a file of JSON lines and an archive of the logs.
# PYTHON names an interpreter that has PyTorch and Triton (python3 by default), WHEELS a folder of wheels with what else
# requirements.txt lists, installed beside the rest for this run alone; SECONDS_IN_ALL=520 is the time for everything.
# DEVICE=cpu tries the whole run without a GPU, interpreted and at sizes that say nothing.
set -uo pipefail
if [[ ${1:-} == --help || ${1:-} == -h ]]; then
    sed -n '2,/^set /s/^# \{0,1\}//p' "$0"
    exit
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=${1:-gpu-results}
python=${PYTHON:-python3}
device=${DEVICE:-cuda}
[[ $device == cpu ]] || timeout -k 5 60 "$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' || {
    echo "gpu.sh: PyTorch sees no CUDA device here." >&2
    exit 1
}
exec "$python" -u -m benchmarks.gpu.stages "$out" --device "$device" --seconds "${SECONDS_IN_ALL:-520}" \
    ${WHEELS:+--wheels "$WHEELS"}
