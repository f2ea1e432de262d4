"""Bootstrap intervals: how far a figure would move had other pieces been drawn (Efron, 1979)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval; ``low`` and ``high`` are NaN where one piece or none leaves it unknown."""

    value: float
    low: float = math.nan
    high: float = math.nan

    def scaled(self, factor: float) -> Estimate:
        """The same in another unit; ``factor`` is positive."""
        return Estimate(factor * self.value, factor * self.low, factor * self.high)

    def as_json(self) -> dict[str, float | None]:
        """``value``, ``low`` and ``high``; None for what is not finite, which JSON cannot hold."""
        return {name: number if math.isfinite(number) else None for name, number in asdict(self).items()}


@dataclass(frozen=True)
class Bootstrap:
    """Resampling whole pieces with replacement. Every call starts from ``seed``: equal input, equal interval."""

    seed: int = 1
    replicates: int = 1000

    def estimate(self, statistic: Callable[..., float], *samples: np.ndarray, basic: bool = False) -> Estimate:
        """A statistic of sums over pieces.

        Each of ``samples`` is [pieces, columns]; they are independent of each other, and ``statistic`` takes
        the column sums of each. The interval is that of percentiles; with ``basic`` it is mirrored at the
        value (Davison and Hinkley, 1997, chapter 5) and cut at 0, for distances, which resampling only
        ever inflates.
        """
        value = float(statistic(*(sample.sum(axis=0) for sample in samples)))
        if any(len(sample) < 2 for sample in samples):
            return Estimate(value)
        low, high = _percentiles(np.array([statistic(*sums) for sums in self._resample(samples)], dtype=float))
        if basic:
            low, high = max(0.0, 2 * value - high), max(0.0, 2 * value - low)
        return Estimate(value, low, high)

    def mean(self, values: np.ndarray) -> Estimate:
        """The mean of one figure a piece, without the pieces that have none (NaN)."""
        return self.estimate(ratio_of_sums, with_counts(values))

    def mean_difference(self, values: np.ndarray, others: np.ndarray) -> Estimate:
        """Mean of ``values`` minus mean of ``others``; NaN are left out of both."""
        return self.estimate(lambda a, b: ratio_of_sums(a) - ratio_of_sums(b), with_counts(values), with_counts(others))

    def draws(self, statistic: Callable[[np.ndarray], float], sample: np.ndarray, pieces: int) -> Estimate:
        """What ``statistic`` comes to for ``pieces`` pieces drawn from ``sample``: its mean, and percentiles."""
        values = np.array([statistic(*sums) for sums in self._resample((sample,), pieces)], dtype=float)
        known = values[~np.isnan(values)]
        return Estimate(float(known.mean()), *_percentiles(known)) if len(known) else Estimate(math.nan)

    def _resample(self, samples: tuple[np.ndarray, ...], pieces: int | None = None) -> list[list[np.ndarray]]:
        """Column sums of each sample, ``replicates`` times."""
        chance = np.random.default_rng(self.seed)
        return [
            [sample[chance.integers(len(sample), size=pieces or len(sample))].sum(axis=0) for sample in samples]
            for _ in range(self.replicates)
        ]


def with_counts(values: np.ndarray) -> np.ndarray:
    """float64 [n, 2]: the values that are not NaN, and 1 beside each, so that a mean is a ratio of sums."""
    known = np.asarray(values, dtype=float)
    known = known[~np.isnan(known)]
    return np.column_stack([known, np.ones(len(known))])


def ratio_of_sums(sums: np.ndarray) -> float:
    """The first of ``sums`` over the second, which counts; NaN where that is 0."""
    return sums[0] / sums[1] if sums[1] else math.nan


def _percentiles(values: np.ndarray) -> tuple[float, float]:
    tail = 100 * (1 - CONFIDENCE) / 2
    known = values[~np.isnan(values)]
    if not len(known):
        return math.nan, math.nan
    low, high = np.percentile(known, [tail, 100 - tail])
    return float(low), float(high)
