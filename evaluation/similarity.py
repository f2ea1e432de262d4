"""Similarity error, with its interval and with what chance alone would make of as many real pieces."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from data_prep.bar_similarity import TRACKS, BarSimilarity, similarity_error
from data_prep.vocabulary import Representation
from evaluation.bootstrap import Bootstrap, Estimate


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
    return ("all", "drums") if representation.has_metre else tuple(TRACKS)


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
