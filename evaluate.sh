#!/usr/bin/env bash
# One scorecard of a trained model: ./evaluate.sh CHECKPOINT DATA_BIN GENERATED_DIR [OUT_DIR]
set -euo pipefail

usage() {
    cat <<'EOF'
Usage: ./evaluate.sh CHECKPOINT DATA_BIN GENERATED_DIR [OUT_DIR]

Writes OUT_DIR (GENERATED_DIR-report by default) with report.md, report.json and pictures: perplexity on
the first 1,024, 5,120 and 10,240 tokens and on whole pieces, losses by kind of token (family, track, whether
the bar repeats another), similarity error and peaks, bars that repeat exactly, grammar errors, musical
features, BLEU, n-grams and bars of the training set, each with its interval. DATA_BIN is what
fairseq-preprocess wrote, with training and test pieces. GENERATED_DIR holds what generate.sh,
fairseq-generate or fairseq-interactive left (H- lines, at any depth), or token files. Environment variables
and their defaults:

  PROMPT_BARS=0          bars that fairseq-generate continued (its --prompt-bars); generate.sh and
                         fairseq-interactive leave their prompts in their files
  NO_GRAMMAR_DIR=        pieces of the same prompts sampled with --no-grammar, whose grammar errors are
                         counted beside
  BLEU_WEIGHTS=equal     of the n-gram orders: equal, of four; long, of 2 to 8, the longer the heavier; or a
                         list such as 0.25,0.25,0.25,0.25
  SELF_BLEU_PIECES=20    pieces in the sample for self-BLEU; its time grows with their square
  WHOLE_PIECES=1         0 reads the first 10,240 tokens of test pieces alone, where a model with attention over
                         everything would need too much memory for whole ones
  PICTURES=4             generated pieces to draw, and as many real ones
  REPLICATES=1000        of the bootstrap behind the intervals
  SEED=1                 of the samples and the bootstrap

python -m evaluation.compare A/report.json B/report.json ... prints the table of several models.
EOF
}

fail() {
    echo "evaluate.sh: $1" >&2
    exit 2
}

if [[ ${1:-} == --help || ${1:-} == -h ]]; then
    usage
    exit
fi
if (($# < 3 || $# > 4)); then
    usage >&2
    exit 2
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
checkpoint=$1 data_bin=$2 generated=${3%/}
out_dir=${4:-$generated-report}
[[ -f $checkpoint ]] || fail "there is no checkpoint at $checkpoint."
[[ -f $data_bin/dict.txt ]] || fail "$data_bin has no dict.txt: name the folder that fairseq-preprocess wrote."
[[ -d $generated ]] || fail "there is no folder $generated."
[[ ${WHOLE_PIECES:=1} =~ ^[01]$ ]] || fail "WHOLE_PIECES must be 0 or 1, not '$WHOLE_PIECES'."
[[ ! -e $out_dir ]] || fail "$out_dir exists already; move it away or name another folder."
"$here/setup.sh"

options=()
[[ $WHOLE_PIECES == 1 ]] || options+=(--no-whole-pieces)
[[ -z ${NO_GRAMMAR_DIR:-} ]] || options+=(--no-grammar-dir "$NO_GRAMMAR_DIR")
export PYTHONPATH=$here${PYTHONPATH:+:$PYTHONPATH}
PYTHONWARNINGS=ignore LOGLEVEL=${LOGLEVEL:-WARNING} exec "$here/.venv/bin/python" -m evaluation.report \
    "$checkpoint" "$data_bin" "$generated" "$out_dir" --prompt-bars "${PROMPT_BARS:-0}" "${options[@]}" \
    --bleu-weights "${BLEU_WEIGHTS:-equal}" --self-bleu-pieces "${SELF_BLEU_PIECES:-20}" \
    --pictures "${PICTURES:-4}" --replicates "${REPLICATES:-1000}" --seed "${SEED:-1}"
