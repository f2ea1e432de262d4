"""What bars that are to be written between others repeat, as far as those around them tell."""

from __future__ import annotations

import numpy as np

from .conditions import NEW, UNTOLD

_AROUND = 4  # bars on each side of a gap that are asked


def kin_of(repeats: np.ndarray) -> np.ndarray:
    """The first of the bars that are alike, int64 [n], from which bar each repeats, int64 [n], -1 for none.

    Bars are counted from 0.
    """
    kin = np.arange(len(repeats))
    for bar, repeated in enumerate(repeats.tolist()):  # earlier ones are known already
        if repeated >= 0:
            kin[bar] = kin[repeated]
    return kin


def repeats_across_gaps(kin: np.ndarray, gap: np.ndarray) -> np.ndarray:
    """By how many bars before their own bars in gaps repeat another, int64 [n]; negative behind, 0 where none is found.

    A gap, bars in a row where bool [n] ``gap``, goes on as the bars beside it do: it repeats bars outside of all gaps
    at the distance at which most bars around it have kin (int64 [n], as ``kin_of`` has it), with one on each side that
    it has; of such distances the least.
    """
    distances = np.zeros(len(kin), dtype=np.int64)
    edges = np.flatnonzero(np.diff(gap, prepend=False, append=False))
    for first, end in edges.reshape(-1, 2).tolist():
        before = [bar for bar in range(max(0, first - _AROUND), first) if not gap[bar]]
        behind = [bar for bar in range(end, min(len(kin), end + _AROUND)) if not gap[bar]]
        found: list[tuple[int, int, int]] = []
        for distance in range(end - len(kin), first + 1):
            others = np.arange(first, end) - distance
            if not distance or others[0] < 0 or others[-1] >= len(kin) or gap[others].any():
                continue
            agreeing = [_agreeing(kin, gap, side, distance) for side in (before, behind) if side]
            if agreeing and min(agreeing):
                found.append((-sum(agreeing), abs(distance), distance))
        if found:
            distances[first:end] = min(found)[2]
    return distances


def _agreeing(kin: np.ndarray, gap: np.ndarray, bars: list[int], distance: int) -> int:
    """How many of ``bars`` have kin at this distance."""
    others = [(bar, bar - distance) for bar in bars if 0 <= bar - distance < len(kin)]
    return sum(bool(kin[bar] == kin[other] and not gap[other]) for bar, other in others)


def told_distances(repeats: np.ndarray, gap: np.ndarray) -> np.ndarray:
    """``BarConditions.distances`` of n bars: of those in gaps, bool [n], what ``repeats_across_gaps`` finds.

    ``repeats`` int64 [n] as ``kin_of`` has it.
    """
    across = repeats_across_gaps(kin_of(repeats), gap)
    heard = np.where(repeats < 0, NEW, np.arange(len(repeats)) - repeats)
    return np.where(gap, np.where(across == 0, UNTOLD, across), heard)
