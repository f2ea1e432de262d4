"""Similarity error, with its interval and with what chance alone would make of as many real pieces; peaks of L_t."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from data_prep.similarity.bars import TRACKS, BarSimilarity, ratio, similarity_error
from data_prep.tokens.vocabulary import Representation
from evaluation.bootstrap import Bootstrap, Estimate

PEAKS = (4, 8, 16)  # bars, where the curves of real songs have theirs


@dataclass(frozen=True)
class SimilarityErrors:
    """Fractions, not percent: of the generated pieces, of the test pieces, and of chance.

    Chance is as many training pieces, drawn at random, as were generated: what a perfect model would get.
    """

    generated: Estimate
    test: Estimate
    chance: Estimate


def tracks_of(representation: Representation) -> tuple[str, ...]:
    """The tracks to measure, the one that the paper's figure is of first; without roles, all and the drums."""
    return tuple(TRACKS) if representation.tracks else ("all", "drums")


def measure_errors(
    generated: BarSimilarity, test: BarSimilarity, training: BarSimilarity, bootstrap: Bootstrap
) -> SimilarityErrors:
    """Similarity errors against the training set, whose own curve is held fixed."""
    reference = training.curve()

    def error(sums: np.ndarray) -> float:
        return _error(_curve(sums), reference)

    return SimilarityErrors(
        bootstrap.estimate(error, _columns(generated), basic=True),
        bootstrap.estimate(error, _columns(test), basic=True),
        bootstrap.draws(error, _columns(training), len(generated.pairs)),
    )


def peak_heights(similarity: BarSimilarity, bootstrap: Bootstrap) -> dict[int, Estimate]:
    """For each t of PEAKS how far L_t stands above the higher of L_(t-1) and L_(t+1), as a fraction.

    A positive height is a local maximum; with an interval above 0 it is more than chance among the pieces.
    """
    columns = np.stack([similarity.sums, similarity.pairs], axis=1)
    return {t: bootstrap.estimate(_height, columns[:, :, t - 2 : t + 1]) for t in PEAKS}


def _height(sums: np.ndarray) -> float:
    """``sums`` [2, 3]: those of similarities and of pairs, at three distances in a row."""
    before, at, after = ratio(*sums)
    return at - max(before, after) if not math.isnan(before + after) else math.nan


def _columns(similarity: BarSimilarity) -> np.ndarray:
    return np.concatenate([similarity.sums, similarity.pairs], axis=1)


def _curve(sums: np.ndarray) -> np.ndarray:
    """The curve of resampled pieces, from the sums of their columns."""
    similarities, pairs = np.split(sums[np.newaxis], 2, axis=1)
    return BarSimilarity(similarities, pairs.astype(np.int64), 0, 0).curve()


def _error(curve: np.ndarray, reference: np.ndarray) -> float:
    try:
        return similarity_error(curve, reference)
    except ValueError:  # no distance in common: the track is silent in one of them
        return math.nan
