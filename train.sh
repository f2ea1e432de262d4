#!/usr/bin/env bash
# Trains a Museformer, by our recipe or the paper's: ./train.sh DATA_BIN [more fairseq-train options]
set -euo pipefail

usage() {
    cat <<'EOF'
Usage: ./train.sh DATA_BIN [more fairseq-train options]

Trains on the folder that fairseq-preprocess wrote, on all visible GPUs, or on the CPU where there is
none, and resumes from SAVE_DIR/checkpoint_last.pt. RECIPE says how, environment variables change parts of it:

  RECIPE=fast               rotary positions, Muon, windows of bars; or paper, the paper's model and training

                            fast                                  paper
  ARCH=                     museformer_rotary, without a GPU      museformer; museformer_tiny is for CPUs
                            museformer_rotary_small; or _tiny
  LR=                       0.04 of the hidden matrices           5e-4
  ADAMW_LR=                 6e-3 of all else                      -
  OPTIMIZER=                muon; adam, with LR=3e-3, which       adam
                            fairseq's own architectures take
  WARMUP_UPDATES=           40, then to 0 as a square root        16000, then inverse square root
  MAX_UPDATE=               20000; the rates depend on it         200000; stop at any time with Ctrl-C
  WINDOW_TOKENS=            1280,2560,10240                       - (whole pieces)
  WINDOW_UPDATES=           3 and 9 tenths of MAX_UPDATE          - (after how many each next length begins)
  TRUNCATE=                 - (windows cover pieces)              15360 tokens of each piece; 0 keeps all
  PIECES_PER_UPDATE=        1 window                              4 pieces
                            over all GPUs; must be divisible by their number times PIECES_PER_BATCH, and is
                            raised to that where it is not set
  DROPOUT=                  0                                     0.1, on embeddings, attention weights, residuals
  WEIGHT_DECAY=             0.01                                  0.01
  PRECISION=                bf16 on GPUs and where the CPU has    fp16 on GPUs, fp32 on the CPU
                            instructions for it, else fp32;
                            with OPTIMIZER=adam as the paper's
  PIECES_PER_BATCH=1        pieces, or windows, of one forward and backward
  SAVE_DIR=checkpoints
  SAVE_EVERY=1000           updates between checkpoints; the last two, the best and the last are kept
  STRUCTURE_BARS=1,2,4,8,12,16,24,32   of Museformer
  SEED=1
  NUM_WORKERS=2             processes that prepare batches

Under torchrun or Slurm, where several machines are used, PIECES_PER_UPDATE counts those of one.
EOF
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [[ ${1:-} == --help || ${1:-} == -h ]]; then
    usage
    exit
fi
if [[ $# -eq 0 ]]; then
    usage >&2
    exit 2
fi
data_bin=$1
shift
if [[ ! -f $data_bin/dict.txt ]]; then
    echo "train.sh: $data_bin has no dict.txt: name the folder that fairseq-preprocess wrote." >&2
    exit 2
fi
for name in MAX_UPDATE PIECES_PER_UPDATE PIECES_PER_BATCH SAVE_EVERY; do
    [[ ${!name:-} =~ ^([1-9][0-9]*)?$ ]] || {
        echo "train.sh: $name must be a whole number from 1 up, not '${!name}'." >&2
        exit 2
    }
done
"$here/setup.sh"

recipe=${RECIPE:-fast}
case $recipe in
    fast) pieces=1 optimizers="muon adam" ;;
    paper) pieces=4 optimizers=adam ;;
    *)
        echo "train.sh: RECIPE=$recipe is neither fast nor paper." >&2
        exit 2
        ;;
esac
default=${optimizers%% *}
of_fairseq=0
case ${ARCH:-} in
    *_lm | *_lm_* | hf_gpt2*) of_fairseq=1 default=adam ;; # its own models: no matrices marked for Muon, and no --bf16
esac
optimizer=${OPTIMIZER:-$default}
if [[ " $optimizers " != *" $optimizer "* ]]; then
    echo "train.sh: the $recipe recipe trains by ${optimizers/ / or }, not by OPTIMIZER=$optimizer." >&2
    exit 2
fi
gpus=$("$here/.venv/bin/python" -c 'import torch; print(torch.cuda.device_count())')
for option in "$@"; do
    [[ $option != --cpu ]] || gpus=0
done
pieces_per_batch=${PIECES_PER_BATCH:-1}
at_once=$(((gpus > 0 ? gpus : 1) * pieces_per_batch))
pieces_per_update=${PIECES_PER_UPDATE:-$((((pieces - 1) / at_once + 1) * at_once))} # or the next multiple of at_once
if ((pieces_per_update % at_once)); then
    echo "train.sh: PIECES_PER_UPDATE=$pieces_per_update is not divisible by $at_once, the pieces of one" \
        "forward on $gpus GPUs: change it or PIECES_PER_BATCH." >&2
    exit 2
fi

best_precision() {
    if [[ $recipe == paper || $optimizer == adam || $of_fairseq == 1 ]]; then
        [[ $gpus -gt 0 ]] && echo fp16 || echo fp32
    elif [[ $gpus -gt 0 ]] || grep -qw avx512_bf16 /proc/cpuinfo; then
        echo bf16
    else
        echo fp32
    fi
}
precision=${PRECISION:-$(best_precision)}
case $precision in
    fp16 | bf16) precision_options=("--$precision") ;;
    fp32) precision_options=() ;;
    *)
        echo "train.sh: PRECISION=$precision is not fp16, bf16 or fp32." >&2
        exit 2
        ;;
esac
[[ $gpus -gt 0 ]] || precision_options+=(--cpu)

if [[ $recipe == fast ]]; then
    arch=${ARCH:-$([[ $gpus -gt 0 ]] && echo museformer_rotary || echo museformer_rotary_small)}
    max_update=${MAX_UPDATE:-20000} dropout=${DROPOUT:-0}
    [[ $precision != fp16 ]] || precision_options+=(--fp16-no-flatten-grads) # Muon takes matrices
    if [[ -n ${WINDOW_TOKENS+given}${WINDOW_UPDATES+given} ]]; then # they belong together
        window_tokens=${WINDOW_TOKENS-1280,2560,10240} window_updates=${WINDOW_UPDATES-}
    else
        first=$((max_update * 3 / 10 > 0 ? max_update * 3 / 10 : 1)) last=$((max_update * 9 / 10))
        window_tokens=1280,2560,10240 window_updates=$first,$((last > first ? last : first + 1))
    fi
    if [[ $optimizer == muon ]]; then
        recipe_options=(--optimizer muon --lr "${LR:-0.04}" --adamw-lr "${ADAMW_LR:-6e-3}")
    else
        recipe_options=(--optimizer adam --adam-betas '(0.9, 0.95)' --lr "${LR:-3e-3}")
    fi
    recipe_options+=(
        --lr-scheduler polynomial_decay --warmup-updates "${WARMUP_UPDATES:-40}" --total-num-update "$max_update"
        --power 0.5 # the last tenth of the updates holds a third of the tokens: in a straight line they would count little
        --window-tokens "$window_tokens" --window-updates "$window_updates"
    )
else
    arch=${ARCH:-museformer} max_update=${MAX_UPDATE:-200000} dropout=${DROPOUT:-0.1}
    recipe_options=(
        --optimizer adam --adam-betas '(0.9, 0.98)' --adam-eps 1e-9 --lr "${LR:-5e-4}"
        --lr-scheduler inverse_sqrt --warmup-updates "${WARMUP_UPDATES:-16000}"
        --truncate-train "${TRUNCATE:-15360}" --truncate-valid "${TRUNCATE:-15360}"
    )
fi
dropout_options=(--dropout "$dropout" --attention-dropout "$dropout")
case $arch in
    lstm_lm* | fconv_lm*) dropout_options=(--dropout "$dropout") ;; # they have no attention weights
esac
echo "train.sh: $recipe recipe, $arch, $pieces_per_update $([[ $recipe == fast ]] && echo windows || echo pieces) an" \
    "update, $pieces_per_batch at a time, on $([[ $gpus -gt 0 ]] && echo "$gpus GPUs" || echo "the CPU"), $precision" >&2

exec "$here/.venv/bin/fairseq-train" "$data_bin" \
    --user-dir "$here/museformer_plugin" --task museformer_language_modeling \
    --arch "$arch" ${STRUCTURE_BARS:+--structure-bars="$STRUCTURE_BARS"} \
    "${dropout_options[@]}" --weight-decay "${WEIGHT_DECAY:-0.01}" \
    --criterion cross_entropy "${recipe_options[@]}" \
    --batch-size "$pieces_per_batch" --update-freq "$((pieces_per_update / at_once))" \
    --max-update "$max_update" \
    --num-workers "${NUM_WORKERS:-2}" --seed "${SEED:-1}" --log-format simple --log-interval 10 \
    --no-epoch-checkpoints --save-interval-updates "${SAVE_EVERY:-1000}" --keep-interval-updates 2 \
    --save-dir "${SAVE_DIR:-checkpoints}" ${precision_options[@]+"${precision_options[@]}"} "$@"
