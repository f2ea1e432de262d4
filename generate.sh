#!/usr/bin/env bash
# Writes songs with a trained model: ./generate.sh CHECKPOINT DICT OUT_DIR [options]
set -euo pipefail

usage() {
    cat <<'EOF'
Usage: ./generate.sh CHECKPOINT DICT OUT_DIR [--pieces N] [--prompt SONG.mid --prompt-bars K]

Writes N MIDI files into OUT_DIR, from scratch or continuing the first K bars of SONG.mid, in the key
of SONG.mid. DICT is the model's dict.txt, or the folder that holds it. No data set is needed.
OUT_DIR/generated.txt keeps the tokens and their scores, OUT_DIR/index.html is a page to listen on and look at.

  --pieces N          how many songs (default 1)
  --prompt SONG.mid   continue this song
  --prompt-bars K     how many of its bars to keep (default 8)

Environment variables and their defaults:

  SEED=1          the same seed gives the same songs
  TOPK=8          sample among this many likeliest tokens
  TEMPERATURE=1   above 1 is wilder, below 1 is tamer
  FAMILY_TEMPERATURES=   the same inside families of tokens, such as pitch=0.7,duration=0.7
  MAX_LEN=20480   longest song, in tokens, the prompt included
  MIN_LEN=0       shortest song, in tokens
  BATCH=32        songs written at a time; as one ends, the next begins (in lots of 4 x BATCH, each
                  kept as it is done)
  PRECISION=fp32  fp16 or bf16 for GPUs, bf16 for CPUs with instructions for it (avx512_bf16 in /proc/cpuinfo)
EOF
}

fail() {
    echo "generate.sh: $1" >&2
    exit "${2:-2}"
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
pieces=1 prompt='' prompt_bars='' positional=()
while (($#)); do
    case $1 in
        --help | -h) usage && exit ;;
        --pieces | --prompt | --prompt-bars)
            (($# > 1)) || fail "$1 needs a value; see ./generate.sh --help."
            case $1 in
                --pieces) pieces=$2 ;;
                --prompt) prompt=$2 ;;
                --prompt-bars) prompt_bars=$2 ;;
            esac
            shift
            ;;
        -*) fail "there is no option $1; see ./generate.sh --help." ;;
        *) positional+=("$1") ;;
    esac
    shift
done
if ((${#positional[@]} != 3)); then
    usage >&2
    exit 2
fi
checkpoint=${positional[0]} dict=${positional[1]} out_dir=${positional[2]}
[[ -d $dict ]] && dict=$dict/dict.txt
[[ -f $checkpoint ]] || fail "there is no checkpoint at $checkpoint."
[[ -f $dict ]] || fail "there is no dictionary at $dict."
[[ -z $prompt || -f $prompt ]] || fail "there is no MIDI file at $prompt."
[[ $pieces =~ ^[1-9][0-9]*$ ]] || fail "--pieces takes a number from 1 up, not '$pieces'."
[[ -n $prompt || -z $prompt_bars ]] || fail "--prompt-bars goes with --prompt."
prompt_bars=${prompt_bars:-8}
[[ $prompt_bars =~ ^[1-9][0-9]*$ ]] || fail "--prompt-bars takes a number from 1 up, not '$prompt_bars'."
[[ ! -e $out_dir || -d $out_dir ]] || fail "$out_dir is a file; name a folder."
if compgen -G "$out_dir/generated*" >/dev/null; then
    fail "$out_dir holds songs already; name another folder."
fi
for number in SEED=${SEED:=1} TOPK=${TOPK:=8} MAX_LEN=${MAX_LEN:=20480} MIN_LEN=${MIN_LEN:=0}; do
    [[ ${number#*=} =~ ^[0-9]+$ ]] || fail "${number%%=*} must be a whole number, not '${number#*=}'."
done
[[ ${BATCH:=32} =~ ^[1-9][0-9]*$ ]] || fail "BATCH must be a whole number from 1 up, not '$BATCH'."
case ${PRECISION:=fp32} in
    fp16 | bf16) precision=("--$PRECISION") ;;
    fp32) precision=() ;;
    *) fail "PRECISION=$PRECISION is not fp16, bf16 or fp32." ;;
esac
"$here/setup.sh"

work=$(mktemp -d)
keep_songs() { # what was written before an interruption is not lost
    if [[ ! -e $out_dir/generated.txt ]] && grep -qs '^H-' "$work/generated.txt"; then
        mkdir -p "$out_dir" && cp "$work/generated.txt" "$out_dir/generated.txt"
    fi
    rm -rf "$work"
}
trap keep_songs EXIT
cp "$dict" "$work/dict.txt"
export PYTHONPATH=$here${PYTHONPATH:+:$PYTHONPATH}
python=$here/.venv/bin/python

transpose=0 tokens=''
if [[ -n $prompt ]]; then
    "$python" -m data_prep.prompt "$prompt" --dict "$dict" --bars "$prompt_bars" >"$work/prompt"
    transpose=$((-$(head -n 1 "$work/prompt")))
    tokens=$(tail -n 1 "$work/prompt")
fi
for ((piece = 0; piece < pieces; piece++)); do echo "$tokens"; done >"$work/prompts.txt"

# on a CPU keys and values are read faster from large pages
export THP_MEM_ALLOC_ENABLE=${THP_MEM_ALLOC_ENABLE:-1}
# the log is shown only when something went wrong; progress and sentences come through standard error
if ! PYTHONWARNINGS=ignore LOGLEVEL=WARNING "$here/.venv/bin/fairseq-interactive" "$work" \
    --user-dir "$here/museformer_plugin" --task museformer_language_modeling --path "$checkpoint" \
    --input "$work/prompts.txt" --buffer-size "$((4 * BATCH))" --batch-size "$((4 * BATCH))" --streams "$BATCH" \
    --sampling --sampling-topk "$TOPK" --temperature "${TEMPERATURE:-1}" \
    --family-temperatures "${FAMILY_TEMPERATURES:-}" --beam 1 --nbest 1 \
    --min-len "$MIN_LEN" --max-len-b "$MAX_LEN" --seed "$SEED" ${precision[@]+"${precision[@]}"} \
    >"$work/generated.txt"; then
    fail "nothing was produced: fairseq-interactive failed, see above." 1
fi
grep -q '^H-' "$work/generated.txt" || fail "nothing was produced: fairseq-interactive wrote no song." 1
mkdir -p "$out_dir"
cp "$work/generated.txt" "$out_dir/generated.txt"
decoded=0
"$python" -m data_prep.tokens_to_midi --transpose "$transpose" "$out_dir/generated.txt" "$out_dir" || decoded=$?
if compgen -G "$out_dir/generated*.mid" >/dev/null; then
    # the songs are there whatever becomes of their page, so that the exit status is theirs
    "$python" -m listening.page "$out_dir" || echo "generate.sh: the page is missing or lacks something, see above." >&2
    [[ ! -f $out_dir/index.html ]] || echo "Listen: $out_dir/index.html"
fi
exit "$decoded"
