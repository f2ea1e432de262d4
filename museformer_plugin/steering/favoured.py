"""Which instruments are to be heard in a bar that a model might leave out though it was told of them.

A melody enters once in some hundred bars, too seldom for a model to have learnt it from being told: it would leave
sections without the melody that their letters ask for. Where it has dropped out in one bar it would stay away, and bars
that repeat that one would lack it too. What a model has seldom read beside other instruments it would leave out for
good.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from data_prep.form.sections import Section

from .form_columns import bars_where_melody_enters, bars_with_melody
from .track_plan import TrackPlan


class Favoured(NamedTuple):
    """``enters`` and ``goes_on`` of a bar, as ``BarLimits`` has them."""

    enters: int | None = None
    goes_on: bool = False


def favoured_instruments(
    bars: Sequence[tuple[int, frozenset[int]]],
    sections: Sequence[Section],
    tracks: TrackPlan | None,
    melody: Collection[int],
    named: Sequence[int],
) -> list[Favoured]:
    """Of each bar to write.

    One instrument a bar enters: a melody by its letters, else another track that enters there or could not in the bars
    before, else the next that is named.

    Args:
        bars: their numbers, from 1, and the instruments whose notes are to be chosen there, as ranks.
        sections: of the form, or none.
        tracks: which play from which bar on, or None.
        melody: the instrument that plays it, where there is one.
        named: instruments of which each is to be heard, in this order, where the piece is written from its first bar; a
            melody by the letters, where they have one.
    """
    melody_enters, melody_plays = bars_where_melody_enters(sections), bars_with_melody(sections)
    waiting = [rank for rank in named if not (melody_enters and rank in melody)]
    found: list[Favoured] = []
    before = 0
    for number, instruments in bars:
        if number != before + 1:  # the bar before is given
            waiting = []
        waiting = [*(sorted(tracks.entering(number)) if tracks else ()), *waiting]
        entering = [*(melody if number in melody_enters else ()), *waiting]
        enters = next((rank for rank in entering if rank in instruments), None)
        goes_on = number in melody_plays - melody_enters and number == before + 1 and bool(instruments & set(melody))
        found.append(Favoured(enters, goes_on))
        waiting = [rank for rank in waiting if rank != enters]
        before = number
    return found
