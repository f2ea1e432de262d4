"""BLEU of token sequences, counted by sacrebleu (Post, 2018): of continuations, and of pieces among themselves.

Tokens are the words. The score is bp * exp(sum of w_n * log p_n): sacrebleu's own where the weights w_n of
the n-gram orders are equal, which it does not let one choose.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from sacrebleu.metrics import BLEU
from tqdm import tqdm

from evaluation.bootstrap import Bootstrap, Estimate

EQUAL_WEIGHTS = (0.25, 0.25, 0.25, 0.25)
# By name. Those for long runs are ours: a note is five tokens or so, and eight reach from note to note.
WEIGHTS = {"equal": EQUAL_WEIGHTS, "long": (0.0, *(order / 35 for order in range(2, 9)))}


def bleu_statistics(hypothesis: str, references: Sequence[str], orders: int) -> np.ndarray:
    """int64 [2 + 2*orders]: tokens of the hypothesis and of the closest reference, n-grams right, n-grams in all."""
    # effective_order keeps sacrebleu from warning of a score that is not used here.
    counter = BLEU(tokenize="none", force=True, max_ngram_order=orders, effective_order=True)
    found = counter.sentence_score(hypothesis, references)
    return np.array([found.sys_len, found.ref_len, *found.counts, *found.totals], dtype=np.int64)


def bleu_score(statistics: np.ndarray, weights: Sequence[float]) -> float:
    """BLEU, 0 to 100, of summed ``bleu_statistics``; orders without a match are smoothed as sacrebleu does."""
    orders = len(weights)
    system, reference, *counts = (int(count) for count in statistics)
    found = BLEU.compute_bleu(counts[:orders], counts[orders:], system, reference, "exp", max_ngram_order=orders)
    total = sum(weights)
    logarithm = 0.0
    for weight, precision in zip(weights, found.precisions):
        if weight and precision <= 0:
            return 0.0
        logarithm += weight / total * math.log(precision / 100) if weight else 0.0
    return 100 * found.bp * math.exp(logarithm)


def continuation_bleu(
    hypotheses: Sequence[str], references: Sequence[str], weights: Sequence[float], bootstrap: Bootstrap
) -> Estimate:
    """Corpus BLEU of continuations, each against its one real continuation."""
    statistics = [
        bleu_statistics(hypothesis, [reference], len(weights)) for hypothesis, reference in zip(hypotheses, references)
    ]
    return bootstrap.estimate(lambda sums: bleu_score(sums, weights), np.array(statistics))


def self_bleu(lines: Sequence[str], weights: Sequence[float], title: str) -> np.ndarray:
    """float64 [pieces]: BLEU of each piece with all the others as references (Zhu et al., "Texygen", 2018).

    High where pieces are alike. Time grows with the square of the pieces: give it a sample.
    """
    scores = []
    for index in tqdm(range(len(lines)), desc=f"self-BLEU, {title}", unit="piece", leave=False):
        others = [*lines[:index], *lines[index + 1 :]]
        scores.append(bleu_score(bleu_statistics(lines[index], others, len(weights)), weights) if others else math.nan)
    return np.array(scores)
