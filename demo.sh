#!/usr/bin/env bash
# Music first, written with the weights that ship, from scratch and to order; then the whole way on songs of our own:
# MIDI -> tokens -> training -> new MIDI -> pictures.
set -euo pipefail

usage() {
    cat <<'EOF'
Usage: ./demo.sh [--quick] [OUT_DIR]

Writes four songs with the weights that ship (pretrained/six_track) and draws them; then a song to order, four
bars into a song of ours and an accompaniment to another. index.html beside them is a page to listen on. Then goes the
whole way: writes 48 arrangements of traditional tunes, prepares them, trains museformer_rotary_tiny, reports its
perplexity on songs it has not seen, writes four songs (two from scratch, two continuing) and draws them.

  --quick    only what the weights that ship write, in about two minutes

OUT_DIR is demo-output by default. Environment: SEED=1; MAX_LEN, the longest song in tokens (with the weights that
ship as long as the form needs, 5000 with those trained here), MIN_LEN=2000 and MAX_UPDATE=400 (updates of training)
of the whole way.
EOF
}

fail() {
    echo "demo.sh: $1" >&2
    exit 2
}

quick=false folders=()
for argument in "$@"; do
    case $argument in
        --help | -h) usage && exit ;;
        --quick) quick=true ;;
        -*) fail "there is no option $argument; see ./demo.sh --help" ;;
        *) folders+=("$argument") ;;
    esac
done
((${#folders[@]} < 2)) || fail "takes one folder to write to, or none; see ./demo.sh --help"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${folders[0]-demo-output}
seed=${SEED:-1}
shipped=$here/pretrained/six_track
[[ ! -e $out ]] || fail "$out exists already; move it away, or name another folder: ./demo.sh OUT_DIR"
if $quick && [[ ! -f $shipped/model.pt ]]; then
    fail "no weights are at $shipped/model.pt, so that --quick leaves nothing to do; run ./demo.sh"
fi
"$here/setup.sh"
mkdir -p "$out"
out=$(cd "$out" && pwd)
export PYTHONPATH=$here${PYTHONPATH:+:$PYTHONPATH} PYTHONWARNINGS=ignore
bin=$here/.venv/bin
began=$SECONDS

step() { printf '\n== %s (%d s)\n' "$1" "$((SECONDS - began))"; }

if [[ -f $shipped/model.pt ]]; then
    step "Four short songs with the weights that ship: four bars, four others, the first again, an end"
    write() { SEED=$seed MIN_LEN=0 "$here/generate.sh" "$shipped/model.pt" "$shipped" "$@"; }
    # without guidance, which would take twice the time
    MAX_LEN=${MAX_LEN:-} GUIDANCE=0 write "$out/music" --pieces 4 --form A4B4A4o2
    "$bin/python" -m evaluation.piano_roll "$out"/music/*.mid "$out/pictures/music"
    echo "Open $out/music/index.html in a browser to listen; pictures are in $out/pictures/music."

    step "A song to order: eight bars, four others, the eight again, an end; drums enter at bar 5"
    MAX_LEN= write "$out/ordered" --form A8B4A8o2 --tracks melody,bass,piano,5:+drums --tempo 96 --key "E minor"

    step "Bars 9 to 12 of a song written anew, and all tracks to the melody of another"
    "$bin/python" -m examples.make_songs "$out/own" --count 2 --seed "$seed"
    own=("$out"/own/*.mid)
    MAX_LEN= write "$out/filled" --fill "${own[0]}" --fill-bars 9-12
    MAX_LEN= write "$out/accompanied" --accompany "${own[1]}"
    echo "Each of $out/ordered, filled and accompanied has an index.html too."
else
    echo "No weights are at $shipped/model.pt: the demo begins with training some."
fi
if $quick; then
    exit
fi

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
echo "Each folder of songs holds an index.html to listen on in a browser."
