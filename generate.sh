#!/usr/bin/env bash
# Writes songs with a trained model: ./generate.sh CHECKPOINT DICT OUT_DIR [options]
set -euo pipefail

usage() {
    cat <<'EOF'
Usage: ./generate.sh CHECKPOINT DICT OUT_DIR [options]

Writes MIDI files into OUT_DIR, and index.html, a page to see and hear them. DICT is the model's dict.txt, or the
folder that holds it. No data set is needed. OUT_DIR/generated.txt keeps the tokens and their scores.

  --pieces N          how many songs (default 1)

Songs from scratch, or, with one of these, into SONG.mid, any MIDI file, whose other bars and tracks come back as they
are, in its key, at its tempo; bars are counted from 1, as a sequencer does:

  --prompt SONG.mid     continue this song            --prompt-bars K      after this bar (default 8, or all)
  --fill SONG.mid       write bars of this song       --fill-bars 9-12,25-28
  --vary SONG.mid       the same, close to its own    --vary-bars 9-16
  --accompany SONG.mid  write tracks to its melody    --given melody,bass  or to other tracks of it

What they are to be like. A model trained with --steerable, as the one in pretrained/six_track, takes all of these,
others --tracks, --tempo, --key and --metre alone:

  --bars 64             how many bars a song from scratch, or a continued one, has altogether
  --form i4A8A8B8A8o2   sections: a letter and how many bars, i intro, o outro, small letters without melody; or a file
                        with a form a line, such as pretrained/six_track/forms.txt, and behind a blank what else repeats,
                        each song in one that SEED draws
  --repeats 9-12=1-4,16=new   bars that repeat earlier ones, or none, whatever the form says of them; 9-12=1-4:all to
                        the note, :melody+bass in these tracks, :-piano in all others
  --tracks melody,bass,9:+drums,25:-bass   which play, and which enter or leave at a bar; programs where the model
                        is one of general tokens
  --tempo 96            quarter notes a minute
  --key "E minor"       of songs from scratch; whether they turn out major or minor is the model's choice
  --metre 3/4           of models of general tokens
  --density 40          how many notes a bar, about
  --wav                 sound files too, through FluidSynth

Environment variables and their defaults:

  SEED=1          the same seed gives the same songs
  TOPK=8          sample among this many likeliest tokens
  TEMPERATURE=1   above 1 is wilder, below 1 is tamer
  FAMILY_TEMPERATURES=   the same inside families of tokens, such as pitch=0.7,duration=0.7 (default: pitch=0.6 with
                  --fill, --vary and --accompany, whose notes are to go with those that are there)
  GUIDANCE=0.5    how far songs go beyond what the model would write when told what is asked, away from what it would
                  write told no more than what bars repeat; 0 writes faster and keeps to it less, 1 overdoes it
  REPEAT_TEMPERATURE=0.1   of bars told to repeat one, as --form, --repeats and --accompany do, on top of
                  TEMPERATURE; 1 varies them more
  MAX_LEN=        longest song, in tokens, what is given included (fairseq's --max-len-b); bars end early where it
                  leaves little room
                  (default: room for all that is asked for; 20480 behind what is given where a song may end anywhere)
  MIN_LEN=0       shortest song, in tokens
  BATCH=32        songs written at a time; as one ends, the next begins (in lots of 4 x BATCH, each
                  kept as it is done)
  OMP_NUM_THREADS=   threads on a CPU (default: 1 for a checkpoint below 25 MB, for which more help little; else all cores)
  PRECISION=fp32  fp16 or bf16 for GPUs, bf16 for CPUs with instructions for it (avx512_bf16 in /proc/cpuinfo)
EOF
}

fail() {
    echo "generate.sh: $1" >&2
    exit "${2:-2}"
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
pieces=1 positional=() wav=0 kind='' song='' part='' key=''
declare -A asked=() # options for fairseq, by name
while (($#)); do
    option=$1
    case $option in
        --help | -h) usage && exit ;;
        --wav) wav=1 ;;
        --pieces | --prompt | --prompt-bars | --fill | --fill-bars | --vary | --vary-bars | --accompany | --given | \
            --bars | --form | --repeats | --tracks | --tempo | --key | --metre | --density)
            (($# > 1)) || fail "$option needs a value; see ./generate.sh --help."
            case $option in
                --pieces) pieces=$2 ;;
                --key) key=$2 ;;
                --prompt | --fill | --vary | --accompany)
                    [[ -z $kind ]] || fail "$kind and $option exclude each other: ask for one after the other."
                    kind=$option song=$2
                    ;;
                --prompt-bars | --fill-bars | --vary-bars | --given)
                    [[ -z $part ]] || fail "${part%%=*} and $option exclude each other."
                    part=$option=$2
                    ;;
                *) asked[$option]=$2 ;;
            esac
            shift
            ;;
        -*) fail "there is no option $option; see ./generate.sh --help." ;;
        *) positional+=("$option") ;;
    esac
    shift
done
((${#positional[@]} == 3)) ||
    fail "takes CHECKPOINT DICT OUT_DIR, not ${#positional[@]} arguments (${positional[*]}); see ./generate.sh --help."
checkpoint=${positional[0]} dict=${positional[1]} out_dir=${positional[2]}
[[ -d $dict ]] && dict=$dict/dict.txt
[[ -f $checkpoint ]] || fail "there is no checkpoint at $checkpoint."
[[ -f $dict ]] || fail "there is no dictionary at $dict."
[[ -z $kind || -f $song ]] || fail "there is no MIDI file at $song."
[[ $pieces =~ ^[1-9][0-9]*$ ]] || fail "--pieces takes a number from 1 up, not '$pieces'."
case $kind:${part%%=*} in
    : | --prompt: | --accompany: | --prompt:--prompt-bars | --accompany:--given) ;;
    --fill:--fill-bars | --vary:--vary-bars) ;;
    --fill: | --vary:) fail "$kind needs $kind-bars, such as $kind-bars 9-12." ;;
    *:--given) fail "--given goes with --accompany." ;;
    *) fail "${part%%=*} goes with ${part%%-bars=*}." ;;
esac
prompt_bars=8 given=''
case $kind in
    --prompt)
        [[ -z $part ]] || prompt_bars=${part#*=}
        [[ $prompt_bars =~ ^[1-9][0-9]*$ ]] || fail "--prompt-bars takes a number from 1 up, not '$prompt_bars'."
        ;;
    --fill | --vary) asked[${part%%=*}]=${part#*=} ;;
    --accompany)
        given=melody
        [[ -z $part ]] || given=${part#*=}
        [[ $given =~ [^,[:space:]] ]] || fail "--given names no track; leave it out for the melody."
        ;;
esac
for option in --bars --density; do
    number=${asked[$option]-1}
    [[ $number =~ ^[0-9]+$ && ($option != --bars || $number =~ [1-9]) ]] ||
        fail "$option takes a whole number$([[ $option != --bars ]] || echo " from 1 up"), not '$number'."
done
[[ -z $key || -z $kind ]] || fail "--key is for songs from scratch: $song keeps its own."
[[ -n $out_dir ]] || fail "OUT_DIR is empty; name a folder."
[[ $out_dir == / ]] || out_dir=${out_dir%/}
[[ ! -e $out_dir || -d $out_dir ]] || fail "$out_dir is a file; name a folder."
parent=$out_dir # it is made when there is a song: whether it can be is known before
until [[ -e $parent ]]; do parent=$(dirname "$parent"); done
[[ -d $parent && -w $parent ]] || fail "nothing can be written into $parent; name another folder than $out_dir."
if compgen -G "$out_dir/generated*" >/dev/null; then
    fail "$out_dir holds songs already; name another folder."
fi
for number in SEED=${SEED:=1} TOPK=${TOPK:=8} MAX_LEN=${MAX_LEN:-0} MIN_LEN=${MIN_LEN:=0}; do
    [[ ${number#*=} =~ ^[0-9]+$ ]] || fail "${number%%=*} must be a whole number, not '${number#*=}'."
done
((${#SEED} < 10)) || fail "SEED must have at most nine digits, not '$SEED'."
for number in TEMPERATURE=${TEMPERATURE:=1} GUIDANCE=${GUIDANCE:=0.5} REPEAT_TEMPERATURE=${REPEAT_TEMPERATURE:=0.1}; do
    least='above 0'
    [[ $number != GUIDANCE=* ]] || least='from 0 up'
    [[ ${number#*=} =~ ^([0-9]+\.?[0-9]*|\.[0-9]+)$ && ($least == 'from 0 up' || ${number#*=} =~ [1-9]) ]] ||
        fail "${number%%=*} must be a number $least, not '${number#*=}'."
done
[[ ${BATCH:=32} =~ ^[1-9][0-9]*$ ]] || fail "BATCH must be a whole number from 1 up, not '$BATCH'."
case ${PRECISION:=fp32} in
    fp16 | bf16) precision=("--$PRECISION") ;;
    fp32) precision=() ;;
    *) fail "PRECISION=$PRECISION is not fp16, bf16 or fp32." ;;
esac
((!wav)) || command -v fluidsynth >/dev/null ||
    fail "--wav needs FluidSynth, which apt-get install fluidsynth fluid-soundfont-gm brings."
"$here/setup.sh"

work=$(mktemp -d)
keep_tokens() {
    mkdir -p "$out_dir" && cp "$work/generated.txt" "$out_dir/generated.part" &&
        mv "$out_dir/generated.part" "$out_dir/generated.txt"
}
keep_songs() { # what was written before an interruption is not lost
    if [[ ! -e $out_dir/generated.txt ]] && grep -qs '^H-' "$work/generated.txt"; then
        if ! keep_tokens; then
            echo "generate.sh: what was written is in $work/generated.txt." >&2
            return
        fi
        echo "generate.sh: the tokens of songs that were done are in $out_dir/generated.txt, of which" \
            "python -m data_prep.tokens_to_midi makes MIDI of what was written alone." >&2
    fi
    rm -rf "$work"
}
trap keep_songs EXIT
cp "$dict" "$work/dict.txt"
export PYTHONPATH=$here${PYTHONPATH:+:$PYTHONPATH}
python=$here/.venv/bin/python

if [[ -n $key ]]; then # before a song is written, not after
    "$python" - "$key" <<'EOF' || exit 2
import sys
from data_prep.tokens.conditions import parse_key
from data_prep.tokens.vocabulary import TokenError
try:
    parse_key(sys.argv[1])
except TokenError as error:
    sys.exit(f"generate.sh: --key: {error}.")
EOF
fi
tokens='' take=()
if [[ $kind == --prompt ]]; then
    take=(--up-to "$prompt_bars")
    [[ -z $part ]] || take=(--bars "$prompt_bars")
fi
[[ -z $given ]] || take=(--given "$given")
if [[ $kind == --accompany ]]; then # what the model calls them, before a song is written
    asked[--accompany]=$("$python" -m data_prep.prompt "$song" --dict "$dict" "${take[@]}" --names 2>"$work/log") || {
        cat "$work/log" >&2
        exit 1
    }
fi
if [[ -n $kind ]]; then
    tokens=$("$python" -m data_prep.prompt "$song" --dict "$dict" ${take[@]+"${take[@]}"})
fi
[[ $kind != --prompt ]] || prompt_bars=$(grep -ow b-1 <<<"$tokens" | wc -l)
longest_form=${asked[--form]:-} listed=''
if [[ -f $longest_form && ! $longest_form =~ ^([A-Za-z][0-9]+)+$ ]]; then # a list of forms
    listed=$longest_form
    longest_form=$(awk '{ bars = 0; n = split($1, of, /[^0-9]+/); for (i = 1; i <= n; i++) bars += of[i] }
        bars > most { most = bars } END { print most }' <"$listed")
fi
if [[ -z ${MAX_LEN:-} ]]; then # as in museformer/options.py
    case $kind in
        '' | --prompt) bars=${asked[--bars]:-${longest_form%%[[:space:]]*}} ;;
        *) bars=$(grep -ow b-1 <<<"$tokens" | wc -l) ;;
    esac
    room=0
    for number in ${bars//[!0-9]/ }; do room=$((room + 640 * 10#${number::5})); done # of sections, or of all bars
    MAX_LEN=$(($(wc -w <<<"$tokens") + (room > 20480 ? room : 20480)))
fi
case $kind in
    '' | --prompt) temperatures=${FAMILY_TEMPERATURES-} ;;
    *) temperatures=${FAMILY_TEMPERATURES-pitch=0.6} ;; # as in museformer/options.py
esac
for ((piece = 0; piece < pieces; piece++)); do echo "$tokens"; done >"$work/prompts.txt"
wishes=()
for option in "${!asked[@]}"; do wishes+=("$option=${asked[$option]}"); done

# a step of a small model is too short to be divided: its threads only wait for each other, long where others run
(($(wc -c <"$checkpoint") > 25000000)) || export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
# on a CPU keys and values are read faster from large pages
export THP_MEM_ALLOC_ENABLE=${THP_MEM_ALLOC_ENABLE:-1}
# the log is shown only when something went wrong; progress and sentences come through standard error
if ! PYTHONWARNINGS=ignore LOGLEVEL=WARNING "$here/.venv/bin/fairseq-interactive" "$work" \
    --user-dir "$here/museformer_plugin" --task museformer_language_modeling --path "$checkpoint" \
    --input "$work/prompts.txt" --buffer-size "$((4 * BATCH))" --batch-size "$((4 * BATCH))" --streams "$BATCH" \
    --sampling --sampling-topk "$TOPK" --temperature "$TEMPERATURE" \
    --family-temperatures "$temperatures" --guidance="$GUIDANCE" \
    --repeat-temperature="$REPEAT_TEMPERATURE" ${wishes[@]+"${wishes[@]}"} --beam 1 --nbest 1 \
    --min-len "$MIN_LEN" --max-len-b "$MAX_LEN" --seed "$SEED" ${precision[@]+"${precision[@]}"} \
    >"$work/generated.txt"; then
    ! grep -q '^H-' "$work/generated.txt" || fail "writing ended before all songs were done, see above." 1
    fail "nothing was produced, see above." 1
fi
grep -q '^H-' "$work/generated.txt" || fail "nothing was produced: fairseq-interactive wrote no song." 1
keep_tokens
decoded=0
into_song() { # what was written goes back into the song
    "$python" -m data_prep.written_song "$song" "$out_dir/generated.txt" "$out_dir" --dict "$dict" \
        ${tempo[@]+"${tempo[@]}"} "$@"
}
tempo=() # tokens come near to what was asked for, and MIDI has it
[[ -z ${asked[--tempo]:-} ]] || tempo=(--tempo "${asked[--tempo]}")
case $kind in
    '')
        "$python" -m data_prep.tokens_to_midi ${key:+--key "$key"} ${tempo[@]+"${tempo[@]}"} \
            "$out_dir/generated.txt" "$out_dir" || decoded=$?
        ;;
    --prompt) into_song --after "$prompt_bars" || decoded=$? ;;
    --accompany) into_song --given "$given" || decoded=$? ;;
    *) into_song --written "${part#*=}" || decoded=$? ;;
esac
if compgen -G "$out_dir/generated*.mid" >/dev/null; then
    # the songs are there whatever becomes of their page, so that the exit status is theirs
    controls=(--control "seed=$SEED") form_of_all=${asked[--form]:-}
    [[ -z $listed ]] || asked[--form]=${listed##*/} form_of_all='' # the page shows what is heard of each
    for option in "${!asked[@]}"; do controls+=(--control "${option#--}=${asked[$option]}"); done
    [[ -z $key ]] || controls+=(--control "key=$key")
    [[ -z $kind ]] || controls+=(--control "${kind#--}=${song##*/}")
    case $kind in
        --prompt) told=(--given-bars "1-$prompt_bars") ;;
        --fill | --vary) told=(--written-bars "${part#*=}") ;;
        *) told=() ;;
    esac
    "$python" -m listening.describe "$out_dir" "${controls[@]}" ${told[@]+"${told[@]}"} --form "${form_of_all}" ||
        echo "generate.sh: the page tells less of the songs, see above." >&2
    "$python" -m listening.page "$out_dir" || echo "generate.sh: the page is missing or lacks something, see above." >&2
    [[ ! -f $out_dir/index.html ]] || echo "Listen: $out_dir/index.html"
fi
if ((wav)); then
    for midi in "$out_dir"/generated*.mid; do
        "$python" -m listening.wav "$midi" "${midi%.mid}.wav" || decoded=1
    done
fi
exit "$decoded"
