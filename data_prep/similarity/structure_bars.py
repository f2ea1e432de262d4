"""Which earlier bars are worth attending to in detail: similarity won for keys spent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PAPER_STRUCTURE_BARS = (1, 2, 4, 8, 12, 16, 24, 32)


@dataclass(frozen=True)
class TradeOff:
    """What a choice of structure bars wins and costs.

    ``mass``: the share (0 ... 1) of all similarity between bars that lies at the chosen distances, the sum
    of L_t times the number of pairs of bars t apart. ``bars``: how many earlier bars a token attends to
    in detail, on average over all bars (early ones have fewer); ``keys``: the tokens of these.
    """

    mass: float
    bars: float
    keys: float


def recommend(curve: np.ndarray, count: int) -> list[int]:
    """The ``count`` distances of highest L_t, rising; of equals the nearer.

    A distance t wins L_t times the number of bars that have an earlier bar t apart, and costs keys in
    that same number, so for any budget of keys the distances of highest L_t win most. Similarity is all
    that counts here: how a bar continues the one before it may be reason to add 1 and 2, as the paper does.
    """
    order = np.argsort(-np.nan_to_num(curve, nan=-1.0), kind="stable")
    return sorted(int(t) + 1 for t in order[:count] if not np.isnan(curve[t]))


def trade_off(curve: np.ndarray, pairs: np.ndarray, bars: int, tokens: int, distances: Sequence[int]) -> TradeOff:
    """What ``distances`` win and cost in a corpus of ``bars`` bars and ``tokens`` tokens, bars taken as equally long.

    ``curve`` is L_t, ``pairs`` the number of pairs of bars behind each, both from t = 1.
    """
    masses = np.nan_to_num(curve) * pairs
    chosen = np.array(distances, dtype=np.int64) - 1
    total = masses.sum()
    attended = float(pairs[chosen].sum() / bars) if bars else 0.0
    return TradeOff(
        mass=float(masses[chosen].sum() / total) if total else 0.0,
        bars=attended,
        keys=attended * tokens / bars if bars else 0.0,
    )
