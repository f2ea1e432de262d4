"""One scorecard of a model: what ``evaluate.sh`` runs.

    python -m evaluation.report CHECKPOINT DATA_BIN GENERATED_DIR OUT_DIR

writes OUT_DIR with ``report.md``, ``report.json`` and pictures. DATA_BIN is the folder that
``fairseq-preprocess`` wrote, with its training and test pieces; GENERATED_DIR holds what ``generate.sh``,
``fairseq-generate`` or ``fairseq-interactive`` left, or token files.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from data_prep.command import CommandError, run_command
from data_prep.prompt import read_representation
from evaluation.bleu import EQUAL_WEIGHTS, WEIGHTS
from evaluation.data_bin import Split
from evaluation.generated import find_examples, read_generated
from evaluation.perplexity import LENGTHS, load_model, measure_losses
from evaluation.pictures import choose_pairs, draw_curves, draw_matrices, draw_ngrams, draw_rolls
from evaluation.report_text import report_text
from evaluation.scorecard import Corpora, Options, score

_logger = logging.getLogger(__name__)


def read_corpora(data_bin: Path, generated_dir: Path, no_grammar_dir: Path | None, prompt_bars: int) -> Corpora:
    """What the report is about. Raises CommandError saying what is missing or does not fit together."""
    if not data_bin.is_dir():
        raise CommandError(f"There is no folder {data_bin}.")
    representation = read_representation(data_bin / "dict.txt")
    generated = read_generated(generated_dir, representation, prompt_bars)
    unconstrained = read_generated(no_grammar_dir, representation, prompt_bars) if no_grammar_dir else ()
    test = Split(data_bin, "test")
    generated = find_examples(generated, test)
    unknown = sum(piece.given > 0 and piece.example is None for piece in generated)
    if unknown:
        _logger.warning("%d prompts are of no test piece; their continuations have no BLEU.", unknown)
    return Corpora(representation, Split(data_bin, "train"), test, generated, unconstrained)


def write_report(checkpoint: Path, data_bin: Path, corpora: Corpora, options: Options, folder: Path) -> None:
    """Measure and draw everything into ``folder``, which exists."""
    model = load_model(checkpoint, data_bin, 0 if options.whole_pieces else max(LENGTHS))
    losses = measure_losses(model, "test")
    scores = score(model.facts, losses, corpora, options)
    pairs = choose_pairs(corpora.generated, corpora.test, options.pictures, options.seed)
    draw_curves(scores["bar_similarity"], folder)
    draw_ngrams(scores["known_ngrams_percent"], folder / "ngrams.png")
    rolls = draw_rolls(pairs, folder / "piano_rolls") if pairs else []
    if pairs:
        draw_matrices(pairs, corpora.representation, folder / "self_similarity.png")
    (folder / "report.json").write_text(json.dumps(scores, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    (folder / "report.md").write_text(report_text(scores, rolls), encoding="utf-8")


def _weights(text: str) -> tuple[float, ...]:
    if text in WEIGHTS:
        return WEIGHTS[text]
    try:
        weights = tuple(float(part) for part in text.split(","))
    except ValueError:
        weights = ()
    if not weights or not all(math.isfinite(weight) and weight >= 0 for weight in weights) or not sum(weights):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a list of weights such as 0.25,0.25,0.25,0.25, nor {' or '.join(WEIGHTS)}"
        )
    return weights


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 up")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m evaluation.report", description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT")
    parser.add_argument("data_bin", type=Path, metavar="DATA_BIN")
    parser.add_argument("generated_dir", type=Path, metavar="GENERATED_DIR")
    parser.add_argument("out_dir", type=Path, metavar="OUT_DIR", help="a folder that does not exist yet")
    parser.add_argument(
        "--prompt-bars",
        type=_count,
        default=0,
        help="how many bars fairseq-generate was given of each example (its --prompt-bars)",
    )
    parser.add_argument(
        "--no-grammar-dir", type=Path, help="pieces of the same prompts sampled with --no-grammar, for their errors"
    )
    parser.add_argument(
        "--bleu-weights",
        type=_weights,
        default=EQUAL_WEIGHTS,
        help="of the n-gram orders, or a name: equal, the default, of four; long, of eight, the longer the heavier",
    )
    parser.add_argument("--self-bleu-pieces", type=_count, default=20, help="sample size (default: %(default)s)")
    parser.add_argument(
        "--no-whole-pieces",
        action="store_true",
        help=f"read the first {max(LENGTHS):,} tokens of test pieces alone, where whole ones do not fit into memory",
    )
    parser.add_argument("--pictures", type=_count, default=4, help="pieces to draw (default: %(default)s)")
    parser.add_argument("--replicates", type=_count, default=1000, help="of the bootstrap (default: %(default)s)")
    parser.add_argument("--seed", type=_count, default=1, help="of samples and intervals (default: %(default)s)")
    return parser


def _run(args: argparse.Namespace) -> int:
    for noisy in ("fairseq", "museformer_plugin"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    if args.out_dir.exists():
        raise CommandError(f"{args.out_dir} exists already; move it away or name another folder.")
    if not args.replicates:
        raise CommandError("--replicates must be at least 1.")
    options = Options(
        args.seed,
        args.replicates,
        args.prompt_bars,
        args.bleu_weights,
        args.self_bleu_pieces,
        args.pictures,
        not args.no_whole_pieces,
    )
    corpora = read_corpora(args.data_bin, args.generated_dir, args.no_grammar_dir, args.prompt_bars)
    args.out_dir.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f"{args.out_dir.name}.part-", dir=args.out_dir.parent))
    try:
        write_report(args.checkpoint, args.data_bin, corpora, options, unfinished)
        unfinished.chmod(0o755)  # mkdtemp keeps others out
        unfinished.rename(args.out_dir)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    print(f"{args.out_dir}/report.md (seed {args.seed})")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    args = _parser().parse_args(arguments)
    return run_command(lambda: _run(args), "Interrupted; no report was written.")


if __name__ == "__main__":
    sys.exit(main())
