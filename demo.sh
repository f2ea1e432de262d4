#!/usr/bin/env bash
# The whole way, on songs of our own: MIDI -> tokens -> training -> new MIDI -> pictures. About 10 minutes on 2 cores.
set -euo pipefail

if [[ ${1:-} == --help || ${1:-} == -h ]]; then
    cat <<'EOF'
Usage: ./demo.sh [OUT_DIR]

Writes 48 arrangements of traditional tunes, prepares them, trains museformer_tiny, reports its perplexity
on songs it has not seen, writes four songs (two from scratch, two continuing) and draws them.
OUT_DIR is demo-output by default. Environment: MAX_UPDATE=400 (updates of training), SEED=1, MIN_LEN=2000
and MAX_LEN=5000 (tokens of a written song).
EOF
    exit
fi

if [[ $# -gt 1 || ${1:-} == -* ]]; then
    echo "demo.sh: takes one folder to write to, or nothing; see ./demo.sh --help" >&2
    exit 2
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${1:-demo-output}
seed=${SEED:-1}
if [[ -e $out ]]; then
    echo "demo.sh: $out exists already; move it away, or name another folder: ./demo.sh OUT_DIR" >&2
    exit 2
fi
"$here/setup.sh"
mkdir -p "$out"
out=$(cd "$out" && pwd)
export PYTHONPATH=$here${PYTHONPATH:+:$PYTHONPATH} PYTHONWARNINGS=ignore
bin=$here/.venv/bin
began=$SECONDS

step() { printf '\n== %s (%d s)\n' "$1" "$((SECONDS - began))"; }

step "1. Songs"
"$bin/python" -m examples.make_songs "$out/midi" --seed "$seed"

step "2. MIDI to tokens, splits, fairseq's binary form"
"$bin/python" -m data_prep.midi_to_tokens "$out/midi" "$out/tokens" --representation six_track
"$bin/python" -m data_prep.make_splits "$out/tokens" "$out/splits" --ratios 8:1:1 --seed "$seed"
"$bin/fairseq-preprocess" --only-source --srcdict "$out/splits/dict.txt" --trainpref "$out/splits/train.tokens" \
    --validpref "$out/splits/valid.tokens" --testpref "$out/splits/test.tokens" \
    --destdir "$out/bin" --workers 2 >"$out/preprocess.log" 2>&1 || {
    cat "$out/preprocess.log" >&2
    exit 1
}

step "3. Training museformer_rotary_tiny; the whole log is in $out/train.log"
RECIPE=fast ARCH=museformer_rotary_tiny SAVE_DIR=$out/checkpoints PIECES_PER_UPDATE=1 PIECES_PER_BATCH=1 PRECISION=fp32 \
    MAX_UPDATE=${MAX_UPDATE:-400} SEED=$seed "$here/train.sh" "$out/bin" --cpu \
    2>"$out/train.err" | tee "$out/train.log" |
    grep --line-buffered -oE 'epoch [0-9]+.*loss=[0-9.]+, ppl=[0-9.]+|valid on .valid. subset \| loss [0-9.]+ \| ppl [0-9.]+' || {
    cat "$out/train.err" >&2
    exit 1
}

step "4. Perplexity on the test songs"
"$bin/fairseq-eval-lm" "$out/bin" --user-dir "$here/museformer_plugin" --task museformer_language_modeling \
    --path "$out/checkpoints/checkpoint_best.pt" --gen-subset test --cpu 2>&1 | tee "$out/eval-lm.log" |
    grep -o 'Loss (base 2).*' || {
    cat "$out/eval-lm.log" >&2
    exit 1
}

step "5. Four songs: two from scratch, two continuing test songs for which 8 bars are given"
export SEED=$seed MAX_LEN=${MAX_LEN:-5000} MIN_LEN=${MIN_LEN:-2000}
generate=("$here/generate.sh" "$out/checkpoints/checkpoint_best.pt" "$out/bin")
"${generate[@]}" "$out/generated/from-scratch" --pieces 2
for number in 1 2; do
    song=$(sed -n "${number}p" "$out/splits/test.pieces")
    "${generate[@]}" "$out/generated/continued-$number" \
        --prompt "$out/midi/${song%.txt}.mid" --prompt-bars 8
done

step "6. Piano rolls"
"$bin/python" -m evaluation.piano_roll "$out"/generated/from-scratch/*.mid "$out/pictures/from-scratch"
for number in 1 2; do
    "$bin/python" -m evaluation.piano_roll "$out/generated/continued-$number"/*.mid "$out/pictures/continued-$number" \
        --prompt-bars 8
done

step "Done: songs in $out/generated, their pictures in $out/pictures"
