#!/usr/bin/env bash
# Trains a Museformer with the paper's settings: ./train.sh DATA_BIN [more fairseq-train options]
set -euo pipefail

usage() {
    cat <<'EOF'
Usage: ./train.sh DATA_BIN [more fairseq-train options]

Trains on the folder that fairseq-preprocess wrote, on all visible GPUs, or on the CPU where there is
none, and resumes from SAVE_DIR/checkpoint_last.pt. Environment variables and their defaults, which
are the paper's:

  ARCH=museformer           or museformer_tiny, for CPUs
  SAVE_DIR=checkpoints
  PIECES_PER_UPDATE=4       over all GPUs; must be divisible by their number times PIECES_PER_BATCH, and is
                            raised to that where it is not set
  PIECES_PER_BATCH=1        pieces of one forward and backward
  LR=5e-4                   peak learning rate, reached after WARMUP_UPDATES, then inverse square root
  WARMUP_UPDATES=16000
  MAX_UPDATE=200000         stop at any time with Ctrl-C; the same command goes on from there
  SAVE_EVERY=1000           updates between checkpoints; the last two, the best and the last are kept
  WEIGHT_DECAY=0.01
  DROPOUT=0.1               on embeddings, attention weights and residual branches
  TRUNCATE=15360            keep this many tokens of each piece; 0 keeps all
  STRUCTURE_BARS=1,2,4,8,12,16,24,32
  PRECISION=fp16            fp16, bf16 or fp32; fp32 on the CPU
  SEED=1
  NUM_WORKERS=2             processes that prepare batches

Under torchrun or Slurm, where several machines are used, PIECES_PER_UPDATE counts those of one.
EOF
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [[ $# -eq 0 || ${1:-} == --help || ${1:-} == -h ]]; then
    usage
    [[ $# -gt 0 ]]
    exit
fi
data_bin=$1
shift
if [[ ! -f $data_bin/dict.txt ]]; then
    echo "train.sh: $data_bin has no dict.txt: name the folder that fairseq-preprocess wrote." >&2
    exit 2
fi
"$here/setup.sh"

gpus=$("$here/.venv/bin/python" -c 'import torch; print(torch.cuda.device_count())')
for option in "$@"; do
    [[ $option != --cpu ]] || gpus=0
done
pieces_per_batch=${PIECES_PER_BATCH:-1}
at_once=$(((gpus > 0 ? gpus : 1) * pieces_per_batch))
pieces_per_update=${PIECES_PER_UPDATE:-$(((3 / at_once + 1) * at_once))} # 4, or the next multiple of at_once
if ((pieces_per_update % at_once)); then
    echo "train.sh: PIECES_PER_UPDATE=$pieces_per_update is not divisible by $at_once, the pieces of one" \
        "forward on $gpus GPUs: change it or PIECES_PER_BATCH." >&2
    exit 2
fi

precision=${PRECISION:-$([[ $gpus -gt 0 ]] && echo fp16 || echo fp32)}
case $precision in
    fp16 | bf16) precision_options=("--$precision") ;;
    fp32) precision_options=() ;;
    *)
        echo "train.sh: PRECISION=$precision is not fp16, bf16 or fp32." >&2
        exit 2
        ;;
esac
[[ $gpus -gt 0 ]] || precision_options+=(--cpu)
echo "train.sh: $pieces_per_update pieces an update, $pieces_per_batch at a time, on $([[ $gpus -gt 0 ]] &&
    echo "$gpus GPUs, $precision" || echo "the CPU, $precision")" >&2

exec "$here/.venv/bin/fairseq-train" "$data_bin" \
    --user-dir "$here/museformer_plugin" --task museformer_language_modeling \
    --arch "${ARCH:-museformer}" --structure-bars "${STRUCTURE_BARS:-1,2,4,8,12,16,24,32}" \
    --dropout "${DROPOUT:-0.1}" --attention-dropout "${DROPOUT:-0.1}" \
    --criterion cross_entropy \
    --optimizer adam --adam-betas '(0.9, 0.98)' --adam-eps 1e-9 --weight-decay "${WEIGHT_DECAY:-0.01}" \
    --lr "${LR:-5e-4}" --lr-scheduler inverse_sqrt --warmup-updates "${WARMUP_UPDATES:-16000}" \
    --batch-size "$pieces_per_batch" --update-freq "$((pieces_per_update / at_once))" \
    --max-update "${MAX_UPDATE:-200000}" \
    --truncate-train "${TRUNCATE:-15360}" --truncate-valid "${TRUNCATE:-15360}" \
    --num-workers "${NUM_WORKERS:-2}" --seed "${SEED:-1}" --log-format simple --log-interval 10 \
    --no-epoch-checkpoints --save-interval-updates "${SAVE_EVERY:-1000}" --keep-interval-updates 2 \
    --save-dir "${SAVE_DIR:-checkpoints}" ${precision_options[@]+"${precision_options[@]}"} "$@"
