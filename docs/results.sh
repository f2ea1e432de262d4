#!/usr/bin/env bash
# The figures of docs/results.md: prepares a corpus, trains models alike, scores them.
set -euo pipefail

usage() {
    cat <<'EOU'
Usage: ./docs/results.sh MIDI_DIR LISTS OUT_DIR

MIDI_DIR holds wild MIDI files, LISTS the files train.txt, valid.txt and test.txt that name the songs of each set.
OUT_DIR gets everything; each step is left out where its result is there, so that the same command goes on after an
interruption. Environment variables and their defaults:

  RECIPE=fast                 as in train.sh; or paper
  SIZE=rotary_tiny            of every architecture; tiny with RECIPE=paper; rotary or small ones for GPUs
  UPDATES=6750                of one window each; 1600 with RECIPE=paper, of the first 10,240 tokens of a piece
                              each: 15 million tokens both
  SEEDS=1                     such as "1 2 3": every model is trained with each
  PIECES=60                   written from scratch by each model
  MAX_LEN=6000                longest written piece, in tokens
  PROMPT_BARS=8               of each test song, continued for BLEU and, without the grammar, for its errors; 0 for none
  MODELS="museformer no_coarse last_8_bars"
                              architectures of this plugin, any NAME that has a NAME_SIZE, and these:
                              no_coarse      Museformer without coarse-grained attention, and the parameters for it
                              last_8_bars    Museformer with the last 8 bars as structure bars
                              embedded       Museformer of the paper: no rotary positions
                              strided        sparse_transformer with the other pattern
                              lstm, transformer_lm   fairseq's, of two layers and as many parameters as museformer_tiny, by Adam
                              transposed     Museformer, each piece in another key each epoch
                              with a colon and a number, such as full_attention:1300, for so many updates

Models are trained without dropout, on one device (CUDA_VISIBLE_DEVICES) or the CPU.
EOU
}

if [[ ${1:-} == --help || ${1:-} == -h ]]; then
    usage
    exit
fi
if [[ $# -ne 3 ]]; then
    usage >&2
    exit 2
fi
fail() {
    echo "results.sh: $1" >&2
    exit 2
}

[[ -z ${ARCH:-} ]] || fail "ARCH=$ARCH is not read here: SIZE and MODELS say what is trained."

for entry in ${MODELS:=museformer no_coarse last_8_bars}; do
    [[ $entry =~ ^[^:]+(:[1-9][0-9]*)?$ ]] || fail "MODELS: $entry is not a name, or a name, a colon and updates."
done

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
midi_dir=$1 lists=$2 out=$3
export RECIPE=${RECIPE:-fast}
case $RECIPE in
    fast) size=rotary_tiny updates=6750 rates="WARMUP_UPDATES=40" ;;
    paper) size=tiny updates=1600 rates="LR=3e-3 WARMUP_UPDATES=100 TRUNCATE=10240" ;;
    *) fail "RECIPE=$RECIPE is neither fast nor paper." ;;
esac
size=${SIZE:-$size}
for name in UPDATES PIECES MAX_LEN PROMPT_BARS; do
    value=${!name:-1}
    [[ $value =~ ^[1-9][0-9]*$ || ($name == PROMPT_BARS && $value == 0) ]] ||
        fail "$name must be a whole number$([[ $name == PROMPT_BARS ]] || echo " from 1 up"), not '$value'."
done
[[ ${SEEDS:-1} =~ ^[0-9[:space:]]+$ ]] || fail "SEEDS must be whole numbers, not '$SEEDS'."
export CUDA_VISIBLE_DEVICES=${CUDA_VISIBLE_DEVICES:-0}
updates=${UPDATES:-$updates} max_len=${MAX_LEN:-6000} prompt_bars=${PROMPT_BARS:-8}
"$here/setup.sh"
. "$here/.venv/bin/activate"
export PYTHONPATH=$here${PYTHONPATH:+:$PYTHONPATH}

choose() { # MODEL: sets arch and options
    arch=museformer_$size options=()
    local longest=100000 # tokens of the longest piece, for fairseq's own models
    case $1 in
        museformer) ;;
        no_coarse) options=(--no-coarse-attention) ;;
        last_8_bars) options=(--structure-bars 1,2,3,4,5,6,7,8) ;;
        embedded)
            case $size in
                rotary) arch=museformer ;;
                rotary_tiny) arch=museformer_tiny ;;
                *) fail "the model embedded has no size $size; SIZE is rotary or rotary_tiny." ;;
            esac
            ;;
        transposed) options=(--transpose-train) ;;
        strided) arch=sparse_transformer_$size options=(--sparse-pattern strided) ;;
        lstm)
            arch=lstm_lm
            options=(--decoder-layers 2 --decoder-embed-dim 128 --decoder-hidden-size 184 --decoder-out-embed-dim 128
                --tokens-per-sample $longest)
            ;;
        transformer_lm)
            arch=transformer_lm
            options=(--decoder-layers 2 --decoder-embed-dim 128 --decoder-input-dim 128 --decoder-output-dim 128
                --decoder-ffn-embed-dim 896 --decoder-attention-heads 4 --share-decoder-input-output-embed
                --tokens-per-sample $longest --max-target-positions $longest)
            ;;
        *) arch=$1_$size ;;
    esac
    if [[ $arch == *_lm && $size != *tiny ]]; then
        fail "the model $1 has the size of tiny ones, not of SIZE=$size."
    fi
}

architectures=()
for entry in $MODELS; do
    choose "${entry%%:*}"
    architectures+=("$arch")
done
PYTHONWARNINGS=ignore python - "${architectures[@]}" <<'EOF' || exit 2
import sys
import museformer_plugin
from fairseq.models import ARCH_MODEL_REGISTRY
from museformer_plugin.models.options import BarAwareLanguageModel
for arch in sys.argv[1:]:
    model = ARCH_MODEL_REGISTRY.get(arch)
    if arch not in ("lstm_lm", "transformer_lm") and not (model and issubclass(model, BarAwareLanguageModel)):
        sys.exit(f"results.sh: MODELS and SIZE ask for {arch}, which is no architecture of this plugin.")
EOF

for split in train valid test; do
    [[ -f $lists/$split.txt ]] || fail "there is no list of songs at $lists/$split.txt."
done
[[ -d $midi_dir ]] || fail "there is no folder $midi_dir."

mkdir -p "$out"
settings="$RECIPE recipe, $size, $updates updates, $rates, at most $max_len tokens, \
${PIECES:-60} pieces, $prompt_bars bars of prompts, $midi_dir, $lists"
if [[ -f $out/settings && $(cat "$out/settings") != "$settings" ]]; then
    fail "$out was begun with other settings ($(cat "$out/settings")); name another folder."
fi
echo "$settings" >"$out/settings"

if [[ ! -f $out/data-bin/dict.txt ]]; then
    if [[ ! -f $out/midi/funnel.txt ]]; then # written last
        resume=()
        [[ ! -d $out/midi ]] || resume=(--resume)
        python -m data_prep.prepare_six_track "$midi_dir" "$out/midi" --lists "$lists" ${resume[@]+"${resume[@]}"}
    fi
    rm -rf "$out/tokens" "$out/splits" "$out/data-bin.part"
    python -m data_prep.midi_to_tokens "$out/midi" "$out/tokens" --representation six_track
    python -m data_prep.make_splits "$out/tokens" "$out/splits" --lists "$lists"
    fairseq-preprocess --only-source --srcdict "$out/splits/dict.txt" --trainpref "$out/splits/train.tokens" \
        --validpref "$out/splits/valid.tokens" --testpref "$out/splits/test.tokens" --destdir "$out/data-bin.part"
    mv "$out/data-bin.part" "$out/data-bin"
fi

train() { # MODEL SEED FOLDER UPDATES
    choose "$1"
    [[ $RECIPE == fast ]] || options+=(--lr-scheduler polynomial_decay --total-num-update "$4")
    # what else train.sh reads from the environment is as it says
    # shellcheck disable=SC2086
    env -u STRUCTURE_BARS -u WEIGHT_DECAY -u WINDOW_TOKENS -u WINDOW_UPDATES -u PRECISION -u LR -u ADAMW_LR \
        -u OPTIMIZER $rates ARCH="$arch" DROPOUT=0 \
        SAVE_DIR=$3 SEED=$2 PIECES_PER_UPDATE=1 MAX_UPDATE=$4 SAVE_EVERY=100 "$here/train.sh" "$out/data-bin" \
        --disable-validation --max-epoch 1000 ${options[@]+"${options[@]}"} >>"$3.log" 2>&1 ||
        fail "training failed, see $3.log."
}

continue_songs() { # CHECKPOINT FOLDER SEED [more options]
    PYTHONWARNINGS=ignore fairseq-generate "$out/data-bin" --path "$1" --user-dir "$here/museformer_plugin" \
        --task museformer_language_modeling --gen-subset test --prompt-bars "$prompt_bars" --batch-size 32 \
        --sampling --sampling-topk 8 --beam 1 --nbest 1 --max-len-b "$max_len" --seed "$3" \
        --results-path "$2.part" "${@:4}"
    mv "$2.part" "$2"
}

reports=()
for seed in ${SEEDS:-1}; do
    for entry in $MODELS; do
        IFS=: read -r model own_updates <<<"$entry"
        name=$model${own_updates:+-$own_updates}-$seed
        run=$out/$name
        mkdir -p "$run"
        if [[ ! -f $run/trained.pt ]]; then
            train "$model" "$seed" "$run/checkpoints" "${own_updates:-$updates}"
            cp "$run/checkpoints/checkpoint_last.pt" "$run/trained.part" && mv "$run/trained.part" "$run/trained.pt"
        fi
        if [[ ! -d $run/written/scratch ]]; then
            rm -rf "$run/scratch.part"
            SEED=$seed MAX_LEN=$max_len "$here/generate.sh" "$run/trained.pt" "$out/data-bin" "$run/scratch.part" \
                --pieces "${PIECES:-60}"
            mkdir -p "$run/written" && mv "$run/scratch.part" "$run/written/scratch"
        fi
        no_grammar=
        if ((prompt_bars)); then
            no_grammar=$run/no-grammar
            [[ -d $run/written/continued ]] || continue_songs "$run/trained.pt" "$run/written/continued" "$seed"
            [[ -d $no_grammar ]] || continue_songs "$run/trained.pt" "$no_grammar" "$seed" --no-grammar
        fi
        # fairseq's transformer holds all pairs of tokens at once: 40 GB for the longest test piece
        whole_pieces=1
        [[ $model != transformer_lm ]] || whole_pieces=0
        [[ -d $run/report ]] || PROMPT_BARS=$prompt_bars NO_GRAMMAR_DIR=$no_grammar SEED=$seed WHOLE_PIECES=$whole_pieces \
            "$here/evaluate.sh" "$run/trained.pt" "$out/data-bin" "$run/written" "$run/report"
        mkdir -p "$out/reports/$name" && cp "$run/report/report.json" "$out/reports/$name/"
        reports+=("$out/reports/$name/report.json")
    done
done
python -m evaluation.compare --over-seeds "${reports[@]}" >"$out/results.part"
mv "$out/results.part" "$out/results.md"
cat "$out/results.md"
