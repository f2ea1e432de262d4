"""What each feature adds to the score of a span, in the first hearing and in the second.

Fitted by maximum likelihood (with 0.005 times the sum of their squares against large ones) to what two people heard in
the POP909 songs with odd numbers, as docs/form.md tells.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Weights:
    """Of the features of the line that a span begins at, of the span, by name, and of lengths of 1, 2 ... bars."""

    lines: Mapping[str, float]
    spans: Mapping[str, float]
    lengths: tuple[float, ...]

    def scores(self, lines: np.ndarray, spans: np.ndarray) -> np.ndarray:
        """float64 [bars, longest], of lines [features, bars] and spans [features, bars, longest]."""
        of_lines = np.tensordot(list(self.lines.values()), lines, 1)
        return of_lines[:, None] + np.tensordot(list(self.spans.values()), spans, 1) + np.array(self.lengths)


FIRST = Weights(
    lines={
        "rest -1": 1.13,
        "rest -0.5": 0.89,
        "rest -0.25": 0.97,
        "rest 0": 0.58,
        "rest 0.01": 1.22,
        "rest 0.27": 0.37,
        "interval -1": -1.51,
        "interval -0.5": -0.03,
        "interval -0.25": 0.43,
        "interval 0": 0.67,
        "interval 0.01": 0.04,
        "interval 0.27": 0.08,
        "held": -0.47,
        "sounds": 0.68,
        "pauses": 2.71,
        "enters": 0.27,
        "leaves": 0.56,
        "busier": 0.68,
        "calmer": -1.97,
        "starts 2": 1.05,
        "stops 2": 0.42,
        "starts 2 of three": 0.92,
        "stops 2 of three": -0.63,
        "starts 4": 1.72,
        "stops 4": 1.46,
        "starts 4 of three": -0.10,
        "stops 4 of three": -0.08,
        "starts 8": 1.05,
        "stops 8": 1.45,
        "starts 8 of three": -0.62,
        "stops 8 of three": -0.12,
        "novelty 4 of all": 0.87,
        "novelty 2": -0.46,
        "novelty 4": 0.44,
        "novelty 8": -1.16,
        "texture": 0.09,
    },
    spans={
        "best": -3.27,
        "best by bar": 0.19,
        "good by bar": 0.17,
        "repeats before": 1.48,
        "repeated after": 1.73,
        "no melody": 0.03,
        "no melody by bar": 0.37,
        "first": -0.00,
        "last": 0.00,
        "first without melody": -1.68,
        "last without melody": 0.55,
    },
    lengths=(
        -4.51, -4.12, -2.72, -0.83, -1.51, -1.82, -1.51, 0.74, 0.35, 0.06,
        -0.14, 0.13, -0.16, 0.36, -0.02, 1.80, 0.01, 0.26, 0.27, 0.12,
    ),
)  # fmt: skip

SECOND = Weights(
    lines={
        "rest -1": 0.51,
        "rest -0.5": 0.47,
        "rest -0.25": 0.36,
        "rest 0": 0.07,
        "rest 0.01": 0.78,
        "rest 0.27": 0.23,
        "interval -1": -0.08,
        "interval -0.5": 0.00,
        "interval -0.25": 0.18,
        "interval 0": 0.18,
        "interval 0.01": -0.21,
        "interval 0.27": -0.24,
        "held": 0.00,
        "sounds": 0.47,
        "pauses": 1.06,
        "enters": 0.29,
        "leaves": -0.13,
        "busier": -0.06,
        "calmer": -0.37,
        "starts 2": -0.32,
        "stops 2": -0.04,
        "starts 2 of three": 0.01,
        "stops 2 of three": -0.26,
        "starts 4": 0.70,
        "stops 4": 0.47,
        "starts 4 of three": -0.25,
        "stops 4 of three": -0.35,
        "starts 8": 0.79,
        "stops 8": 0.92,
        "starts 8 of three": -0.20,
        "stops 8 of three": -0.10,
        "novelty 4 of all": 1.21,
        "novelty 2": 0.04,
        "novelty 4": 0.54,
        "novelty 8": -1.06,
        "texture": -0.08,
        "agrees after": 0.83,
        "known after": -0.55,
        "agrees before": 1.10,
        "known before": -0.58,
    },
    spans={
        "best": 0.16,
        "best by bar": 0.07,
        "good by bar": -0.04,
        "repeats before": 0.13,
        "repeated after": 0.48,
        "no melody": -0.03,
        "no melody by bar": 0.20,
        "first": -0.00,
        "last": -0.00,
        "first without melody": -1.15,
        "last without melody": 0.12,
        "agrees": -2.08,
        "agrees by bar": 0.25,
        "agreed": 0.35,
        "usual": 0.02,
        "probable": 0.41,
    },
    lengths=(
        -2.01, -1.69, -1.08, -0.33, -0.44, -0.62, -0.50, 0.06, 0.21, 0.13,
        -0.06, 0.00, -0.19, 0.08, -0.11, 0.97, -0.02, 0.05, 0.17, 0.00,
    ),
)  # fmt: skip
