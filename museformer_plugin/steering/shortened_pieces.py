"""Shorter pieces out of longer ones, so that a model hears songs of all lengths end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_LEAST = 8  # bars of a piece that is made


def kin_of(repeats: np.ndarray) -> np.ndarray:
    """The first of the bars that are alike, int64 [n], from which bar each repeats, int64 [n], -1 for none.

    Bars are counted from 0.
    """
    kin = np.arange(len(repeats))
    for bar, repeated in enumerate(repeats.tolist()):  # earlier ones are known already
        if repeated >= 0:
            kin[bar] = kin[repeated]
    return kin


def shortened(
    bars: Sequence[np.ndarray], kin: np.ndarray, most: int, chance: np.random.Generator
) -> list[np.ndarray] | None:
    """The bars of a piece without some in a row, tokens int64 [n] each; at most ``most`` tokens in all.

    What comes behind the cut begins with a bar that is like the first that is left out (``kin`` int64 [bars], equal
    where bars are alike, as ``kin_of`` has it), so that it goes on as the piece would have. Which is drawn
    among all cuts that leave a beginning, an end and 8 bars; None where there is none.
    """
    behind = np.cumsum([0, *map(len, bars)])
    first, next_bar = np.nonzero(np.triu(kin[:, None] == kin[None], 1))  # left out: from the one to before the other
    kept_bars = len(bars) - (next_bar - first)
    kept_tokens = behind[-1] - (behind[next_bar] - behind[first])
    possible = np.flatnonzero((first > 0) & (kept_bars >= _LEAST) & (kept_tokens <= most))
    if not len(possible):
        return None
    cut = int(chance.choice(possible))
    return [*bars[: first[cut]], *bars[next_bar[cut] :]]
