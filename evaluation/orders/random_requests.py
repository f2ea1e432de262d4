"""Requests drawn at random: what a user might ask of a song, or from scratch, kind by kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from data_prep.command import CommandError
from data_prep.form.outlines import Repeat, parse_outline
from data_prep.form.unchanged import unchanged_text
from data_prep.tokens.coded_notes import INSTRUMENT
from data_prep.tokens.vocabulary import tempo_id
from museformer_plugin.steering.track_plan import TrackPlan
from museformer_plugin.steering.wishes import Wishes
from museformer_plugin.token_families import TokenFamilies

from .pieces import Piece

LENGTHS = (8, 12)  # bars of a piece, at least and at most
_SECTION_LETTERS = "iABCabxXo"


@dataclass(frozen=True)
class Case:
    """What is asked, ``song``: of which piece; that of no bars from scratch."""

    wishes: Wishes
    song: Piece


def bars_asked(case: Case) -> int:
    """How many bars the piece is to have."""
    wishes = case.wishes
    if wishes.needs_piece:
        return len(case.song)
    return wishes.bars or wishes.form.num_bars


def written_bars(case: Case) -> list[int]:
    """The numbers, from 1, of the bars that were to be written."""
    wishes, bars = case.wishes, bars_asked(case)
    ranges = wishes.fill_bars or wishes.vary_bars
    if ranges:
        return [bar for first, last in ranges for bar in range(first, last + 1)]
    return list(range(1 if wishes.prompt_bars is None else wishes.prompt_bars + 1, bars + 1))


class RandomRequests:
    """Draws cases.

    Args:
        songs: whose excerpts are written into.
        families: of the dictionary.
        chance: where they are drawn from.
    """

    def __init__(self, songs: list[Piece], families: TokenFamilies, chance: np.random.Generator) -> None:
        self._songs = [song for song in songs if len(song) >= LENGTHS[1]]
        if not self._songs:
            raise CommandError(f"No song has {LENGTHS[1]} bars.")
        self._families = families
        self._chance = chance
        self._nothing = Piece.of(np.empty(0, dtype=np.int64), families)
        self.kinds: dict[str, Callable[[], Case]] = {
            "fill": self._fill,
            "vary": self._vary,
            "accompany": self._accompany,
            "continue": self._continue,
            "form": self._form,
            "tracks": self._tracks,
            "tempo": self._tempo,
            "bars": self._bars,
        }

    def _excerpt(self) -> Piece:
        song = self._songs[int(self._chance.integers(len(self._songs)))]
        bars = self._length()
        return song.excerpt(int(self._chance.integers(len(song) - bars + 1)), bars, self._families)

    def _length(self) -> int:
        return int(self._chance.integers(LENGTHS[0], LENGTHS[1] + 1))

    def _ranges(self, bars: int) -> tuple[tuple[int, int], ...]:
        """One range of bars or two, apart, of 1 to 4 bars each; bars are counted from 1."""
        middle = bars // 2
        halves = [(1, middle), (middle + 1, bars)]
        if self._chance.random() < 0.5:
            halves = [halves[int(self._chance.integers(2))]]
        found = []
        for low, high in halves:
            first = int(self._chance.integers(low, high + 1))
            found.append((first, min(high, first + int(self._chance.integers(4)))))
        return tuple(found)

    def _fill(self) -> Case:
        song = self._excerpt()
        ranges = self._ranges(len(song))
        if sum(last - first + 1 for first, last in ranges) == len(song):  # something must be given
            ranges = ranges[:1]
        return self._with_more(Case(Wishes(fill_bars=ranges), song))

    def _vary(self) -> Case:
        song = self._excerpt()
        return self._with_more(Case(Wishes(vary_bars=self._ranges(len(song))), song))

    def _accompany(self) -> Case:
        song = self._excerpt()
        instruments = self._families.representation.instruments
        playing = [instruments.index(instrument) for instrument in np.unique(song.notes[:, INSTRUMENT]).tolist()]
        count = int(self._chance.integers(1, max(2, len(playing))))
        given = self._chance.choice(playing, min(count, len(playing)), replace=False) if playing else [0]
        return self._with_more(Case(Wishes(given_tracks=frozenset(map(int, given))), song))

    def _continue(self) -> Case:
        song = self._excerpt()
        kept = int(self._chance.integers(1, 6))
        return self._with_more(Case(Wishes(prompt_bars=kept, bars=len(song)), song))

    def _form(self) -> Case:
        letters = self._chance.choice(list(_SECTION_LETTERS), int(self._chance.integers(2, 5)))
        form = parse_outline("".join(f"{letter}{self._chance.integers(1, 5)}" for letter in letters))
        return self._from_scratch(Wishes(form=form))

    def _tracks(self) -> Case:
        bars = self._length()
        return self._from_scratch(Wishes(bars=bars, tracks=self._plan(bars)))

    def _tempo(self) -> Case:
        bars = self._length()
        return self._from_scratch(Wishes(bars=bars, tempo=self._tempo_id()))

    def _bars(self) -> Case:
        bars = int(self._chance.integers(1, LENGTHS[1] + 1))
        return self._from_scratch(Wishes(bars=bars))

    def _from_scratch(self, wishes: Wishes) -> Case:
        return self._with_more(Case(wishes, self._nothing))

    def _with_more(self, case: Case) -> Case:
        """And, each in a quarter of all cases, tracks, a tempo, a density and bars that repeat."""
        wishes, bars = case.wishes, bars_asked(case)
        if wishes.tracks is None and self._chance.random() < 0.25:
            wishes = replace(wishes, tracks=self._plan(bars, wishes.given_tracks))
        if wishes.tempo is None and self._chance.random() < 0.25:
            wishes = replace(wishes, tempo=self._tempo_id())
        if self._chance.random() < 0.25:
            wishes = replace(wishes, notes=int(self._chance.integers(80)))
        if self._chance.random() < 0.25:
            wishes = replace(wishes, repeats=self._repeats(written_bars(case)))
        return replace(case, wishes=wishes)

    def _repeats(self, written: list[int]) -> tuple[Repeat, ...]:
        """Of half of the bars but the first, numbers from 1, which earlier ones they repeat, and what of it stays."""
        names = [self._families.representation.name_of(n) for n in self._families.representation.instruments]
        found = []
        for bar in written:
            if bar > 1 and self._chance.random() < 0.5:
                stays = self._chance.random(len(names)) < self._chance.choice([0.0, 0.5, 1.0])
                found.append(Repeat(bar - 1, int(self._chance.integers(bar - 1)), unchanged_text(stays, names)))
        return tuple(found)

    def _tempo_id(self) -> int:
        return tempo_id(float(self._chance.uniform(50, 200)))

    def _plan(self, bars: int, given: frozenset[int] = frozenset()) -> TrackPlan:
        """Some tracks from the beginning, and in half of all plans one that enters or leaves.

        One that is not ``given`` plays all the time, so that there is something to write.
        """
        representation = self._families.representation
        names = [representation.track_names()[instrument] for instrument in representation.instruments]
        stays = str(self._chance.choice([name for rank, name in enumerate(names) if rank not in given]))
        others = [name for name in names if name != stays]
        more = self._chance.choice(others, int(self._chance.integers(len(others))), replace=False)
        first = [stays, *more.tolist()]
        parts = list(first)
        if bars > 1 and self._chance.random() < 0.5:
            changed = str(self._chance.choice(others))
            parts.append(f"{self._chance.integers(2, bars + 1)}:{'-' if changed in first else '+'}{changed}")
        return TrackPlan.parse(",".join(parts), representation)
