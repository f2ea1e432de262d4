"""Which of fairseq's options of generation are offered."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence

from fairseq.models import FairseqModel
from fairseq.modules import LearnedPositionalEmbedding

from .errors import UserError
from .piece_rules import TOKENS_TO_CLOSE


def check_generation(models: Sequence[FairseqModel], args: Namespace, lm_model: FairseqModel | None) -> None:
    """Raises UserError for the first option of fairseq's generation (``args``) that has no meaning or sense here.

    ``models`` are those of ``--path``, ``lm_model`` that of ``--lm-path``.
    """
    if len(models) > 1:
        raise UserError("Several checkpoints in --path are not offered: name one.")
    if args.beam > 1 and not args.sampling:
        raise UserError(
            "Beam search is not offered: pass --sampling --sampling-topk 8 --beam 1 "
            "--nbest 1, or --beam 1 alone for the likeliest token at each step."
        )
    if args.max_len_a:
        raise UserError(
            "--max-len-a is not offered: the length of a piece does not follow from its prompt; use --max-len-b."
        )
    if args.temperature <= 0:
        raise UserError(f"--temperature must be positive, not {args.temperature}.")
    if not 0 <= args.min_len <= args.max_len_b or args.max_len_b < TOKENS_TO_CLOSE:
        raise UserError(
            f"--min-len {args.min_len} and --max-len-b {args.max_len_b} must satisfy 0 <= min <= max, and max be at "
            f"least {TOKENS_TO_CLOSE}."
        )
    positions = getattr(models[0].decoder, "embed_positions", None)
    if isinstance(positions, LearnedPositionalEmbedding) and args.max_len_b > positions.max_positions:
        raise UserError(
            f"The model has learnt positions up to {positions.max_positions} tokens, its --tokens-per-sample: "
            f"--max-len-b must be at most that, not {args.max_len_b}."
        )
    not_offered = {
        "--constraints": args.constraints,
        "--diverse-beam-groups": args.diverse_beam_groups > 0,
        "--diversity-rate": args.diversity_rate > -1,
        "--match-source-len": args.match_source_len,
        "--no-repeat-ngram-size": args.no_repeat_ngram_size > 0,
        "--print-alignment": args.print_alignment,
        "--print-step": args.print_step,
        "--lm-path": lm_model is not None,
    }
    for option, given in not_offered.items():
        if given:
            raise UserError(f"{option} is not offered with this task.")
