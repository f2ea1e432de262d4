"""Which instrument is to be heard in which bar, that a model might leave out though it was told of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    melody: Iterable[int],
    named: Sequence[int],
) -> list[Favoured]:
    """Of each bar to write at most one: a melody that enters, else another track that enters there or could not be
    favoured in an earlier bar, else the next that is named, else a melody under way.

    Args:
        bars: their numbers, from 1, and the instruments that may be written there, as ranks.
        sections: of the form, or none.
        tracks: which play from which bar on, or None.
        melody: the instrument that plays it, where there is one.
        named: instruments of which each is to be heard once, one a bar: what a model has seldom read beside others it
            would leave out for good.
    """
    melody_enters, melody_plays = bars_where_melody_enters(sections), bars_with_melody(sections)
    waiting, found = list(named), []
    for number, instruments in bars:
        waiting = [*(sorted(tracks.entering(number)) if tracks else ()), *waiting]
        entering = [*(melody if number in melody_enters else ()), *waiting]
        under_way = melody if number in melody_plays else ()
        orders = [*(Favoured(rank) for rank in entering), *(Favoured(rank, goes_on=True) for rank in under_way)]
        favoured = next((order for order in orders if order.enters in instruments), Favoured())
        found.append(favoured)
        waiting = [rank for rank in waiting if rank != favoured.enters]
    return found
