"""What somebody asks for, in the words of the options, and the request that it makes of a piece."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from data_prep.form.outlines import Outline, Repeat, Repeats
from data_prep.form.sections import Section
from data_prep.tokens.vocabulary import LETTERS

from ..errors import UserError
from ..token_families import TokenFamilies
from .bar_ranges import bars_of_ranges
from .conditions import UNKNOWN, BarConditions, ConditionColumns, Role
from .favoured import Favoured, favoured_instruments
from .form_columns import bars_without_melody, columns_of_form, distance_of
from .heard_conditions import repeats_of_parts
from .request import BarLimits, Request
from .sequence_bars import SequenceBar, cut_bars, guide_of, only_tracks
from .track_plan import TrackPlan, unchanged_ranks

LONGEST_OPEN_PIECE = 512  # bars that are written at most, where it is not said how many


@dataclass(frozen=True)
class Wishes:
    """What is asked of a piece; everything may be left out.

    ``bars``: how many it is to have. ``form``: its sections, and what repeats in it. ``repeats``: of bars to write,
    whatever the form says of them. ``tracks``: which play from which bar on. ``tempo`` and ``metre``: ids. ``notes``:
    how many a bar, about. ``prompt_bars``: how many of its first bars are kept. ``fill_bars`` and ``vary_bars``: ranges
    of bars, first and last, to be written between or over those that are there. ``given_tracks``: instruments, as
    ranks, that are kept while the others are written.
    """

    bars: int = 0
    form: Outline = Outline()
    repeats: Repeats = ()
    tracks: TrackPlan | None = None
    tempo: int | None = None
    metre: int | None = None
    notes: int = UNKNOWN
    prompt_bars: int | None = None
    fill_bars: tuple[tuple[int, int], ...] = ()
    vary_bars: tuple[tuple[int, int], ...] = ()
    given_tracks: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        kinds = {
            "--fill-bars": self.fill_bars,
            "--vary-bars": self.vary_bars,
            "--accompany": self.given_tracks,
            "--prompt-bars": self.prompt_bars,
        }
        given = [option for option, value in kinds.items() if value]
        if len(given) > 1:
            raise UserError(f"{given[0]} and {given[1]} exclude each other: ask for one after the other.")
        if self.bars and self.sections and self.form.num_bars != self.bars:
            raise UserError(f"--form has {self.form.num_bars} bars and --bars asks for {self.bars}: leave --bars out.")
        if self.bars and (self.fill_bars or self.vary_bars or self.given_tracks):
            raise UserError(f"--bars does not go with {given[0]}: the piece has as many bars as it has.")
        if self.metre is not None and self.needs_piece:
            raise UserError(f"--metre does not go with {given[0]}: the bars of the piece have metres of their own.")

    @property
    def sections(self) -> tuple[Section, ...]:
        """Of its form."""
        return self.form.sections

    @property
    def are_any(self) -> bool:
        """Whether anything is asked but how many bars are kept."""
        return self != Wishes(prompt_bars=self.prompt_bars)

    @property
    def need_steering(self) -> bool:
        """Whether anything is asked that a model must have learnt to be told."""
        return replace(self, prompt_bars=None, tracks=None, tempo=None, metre=None) != Wishes()

    @property
    def needs_piece(self) -> bool:
        """Whether there must be a piece of which something is written."""
        return bool(self.fill_bars or self.vary_bars or self.given_tracks)

    def request_for(self, tokens: np.ndarray, families: TokenFamilies) -> Request:
        """What is to be written of a piece, int64 [n] without begin token and ``</s>``.

        Raises UserError where the piece does not allow it.
        """
        bars = cut_bars(tokens, families.end_of_bar)
        if self.needs_piece and len(bars) < 1:
            raise UserError("--fill-bars, --vary-bars and --accompany need a song: there is none, or it has no bar.")
        if self.fill_bars or self.vary_bars:
            given, written = self._between(bars)
        elif self.given_tracks:
            parts = [only_tracks(bar, self.given_tracks, families) for bar in self._in_tempo(bars, families)]
            given = [SequenceBar(part, number, Role.PART) for number, part in enumerate(parts, start=1)]
            written = list(range(1, len(bars) + 1))
        else:
            kept = bars if self.prompt_bars is None else bars[: self.prompt_bars]
            given = [SequenceBar(bar, number) for number, bar in enumerate(kept, start=1)]
            written = list(range(len(kept) + 1, (self._length() or len(kept) + LONGEST_OPEN_PIECE) + 1))
            if not written:
                raise UserError(f"{len(kept)} bars are kept, and no more than {self._length()} are asked for.")
        total = len(bars) if self.needs_piece else self._length()
        if self.sections and self.form.num_bars != total:
            raise UserError(f"--form has {self._length()} bars, and the song {total}.")
        playing = self._playing(written, families)
        self._check_tracks(playing, total)
        self._check_repeats(written, total)
        sequence = [*given, *(SequenceBar(np.empty(0, dtype=np.int64), number) for number in written)]
        guide = guide_of(sequence, self._conditions(sequence, total, families), ConditionColumns.of(families))
        unchanged = self._unchanged(written, families)
        favoured = self._favoured(written, playing, unchanged, families)
        limits = [
            replace(self._limits(number, instruments, bars, families), **asked._asdict())
            for number, instruments, asked in zip(written, playing, favoured)
        ]
        return Request(given, written, guide, limits, self.given_tracks, not total, unchanged if any(unchanged) else ())

    def _length(self) -> int:
        """Bars of the whole piece where they are told, else 0."""
        return self.bars or self.form.num_bars

    def _check_tracks(self, playing: Sequence[frozenset[int]], total: int) -> None:
        """Raises UserError where the tracks, of the bars to write as ``_playing`` has them, leave nothing to write, or
        change behind the end of a piece of ``total`` bars; 0 is an open one."""
        if self.tracks is not None and total and self.tracks.last_change > total:
            raise UserError(f"--tracks changes at bar {self.tracks.last_change}, and the piece has {total} bars.")
        if not any(ranks - self.given_tracks for ranks in playing):
            options = [*(["--tracks"] if self.tracks else []), *(["--form"] if self.sections else [])]
            let = "let" if len(options) > 1 else "lets"
            kept = "none but those that are given" if self.given_tracks else "none"
            raise UserError(f"{' and '.join(options)} {let} {kept} play in the bars to write: ask for others.")

    def _check_repeats(self, written: Sequence[int], total: int) -> None:
        """Raises UserError where ``repeats`` names other bars than those ``written`` of a piece of ``total`` bars; 0 is
        an open one."""
        other = next((repeat.bar + 1 for repeat in self.repeats if repeat.bar + 1 not in written), 0)
        if not other:
            return
        if other <= (total or written[-1]):
            raise UserError(f"--repeats names bar {other}, which is given: name bars that are to be written.")
        length = f"the piece has {total} bars" if total else f"without --bars a piece ends by bar {written[-1]}"
        raise UserError(f"--repeats names bar {other}, and {length}.")

    def _between(self, bars: Sequence[np.ndarray]) -> tuple[list[SequenceBar], list[int]]:
        """The given bars and the numbers of those to write, of ``--fill-bars`` and ``--vary-bars``."""
        option, ranges = ("--fill-bars", self.fill_bars) if self.fill_bars else ("--vary-bars", self.vary_bars)
        written = bars_of_ranges(option, ranges, len(bars))
        if len(written) == len(bars) and self.fill_bars:
            raise UserError(f"--fill-bars names all {len(bars)} bars of the song: there is nothing to fill between.")
        others = Role.VARIED if self.vary_bars else None
        given = []
        for number, bar in enumerate(bars, start=1):
            role = others if number in written else Role.GIVEN
            if role is not None:
                given.append(SequenceBar(bar, number, role))
        return given, sorted(written)

    def _conditions(self, sequence: Sequence[SequenceBar], total: int, families: TokenFamilies) -> BarConditions:
        """What is said of the bars of a sequence."""
        instruments = len(families.representation.instruments)
        said = BarConditions.nothing(np.zeros(len(sequence), dtype=np.int64), instruments)
        numbers = np.array([bar.number for bar in sequence], dtype=np.int64)
        if self.given_tracks:  # in other requests what bars around tell of those to write costs more than it helps
            said = said.told(distances=repeats_of_parts(sequence, families))
        if self._length():
            said = said.told(left_in_piece=total - numbers)
        if self.sections:
            letters, places, left = columns_of_form(self.sections)
            said = said.told(
                letters=letters[numbers - 1],
                places=places[numbers - 1],
                left_in_section=left[numbers - 1],
            )
        said = said.told(distances=self._with_repeats(said.distances, numbers))
        whole = np.array([bar.role not in (Role.PART, Role.VARIED) for bar in sequence], dtype=bool)
        if self.notes != UNKNOWN:
            said = said.told(notes=np.where(whole, self.notes, UNKNOWN))
        if self.tracks is not None:
            playing = np.zeros((len(sequence), instruments), dtype=bool)
            for row, number in enumerate(numbers):
                playing[row, list(self.tracks.playing(int(number)) | self.given_tracks)] = True
            said = said.told(tracks=playing, tracks_known=whole)
        return said

    def _with_repeats(self, distances: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """``BarConditions.distances`` of bars of these ``numbers``, int64 [n] each, with those that are asked for."""
        asked = distances.copy()
        of_bars = self._asked_repeats()
        for row, number in enumerate(numbers.tolist()):
            if number - 1 in of_bars:
                asked[row] = distance_of(of_bars[number - 1])
        return asked

    def _unchanged(self, written: Sequence[int], families: TokenFamilies) -> list[frozenset[int]]:
        """Of each bar to write the instruments, as ranks, that keep to the notes of the bar that it repeats."""
        asked = self._asked_repeats()
        said = [asked[number - 1].unchanged if number - 1 in asked else "" for number in written]
        ranks = {text: unchanged_ranks(text, families.representation) - self.given_tracks for text in set(said)}
        return [ranks[text] for text in said]

    def _asked_repeats(self) -> dict[int, Repeat]:
        """By bar, from 0, what the form says, and over it ``repeats``."""
        return {repeat.bar: repeat for repeat in [*self.form.of_all_bars(), *self.repeats]}

    def _in_tempo(self, bars: Sequence[np.ndarray], families: TokenFamilies) -> Sequence[np.ndarray]:
        """Bars whose onsets have the tempo that is asked for, where onsets have one."""
        if self.tempo is None or "t" not in families.representation.successors["o"]:
            return bars
        token = families.dictionary.index(f"t-{self.tempo}")
        return [np.where(families.family_of_token[bar] == LETTERS.index("t"), token, bar) for bar in bars]

    def _bars_near(self, number: int, bars: Sequence[np.ndarray]) -> np.ndarray:
        """The song's bar of this number, or its neighbours where that is filled in: their tempo holds."""
        if not self.fill_bars:
            return bars[number - 1]
        first, last = next(span for span in self.fill_bars if span[0] <= number <= span[1])
        beside = [bars[first - 2]] if first > 1 else []
        return np.concatenate([*beside, *bars[last : last + 1]])

    def _playing(self, written: Sequence[int], families: TokenFamilies) -> list[frozenset[int]]:
        """Which instruments may play in each bar to write, as ranks."""
        everything = frozenset(range(len(families.representation.instruments)))
        silent, melody = bars_without_melody(self.sections), families.melody_ranks
        allowed = []
        for number in written:
            playing = everything if self.tracks is None else self.tracks.playing(number)
            allowed.append((playing - melody if number in silent else playing) | self.given_tracks)
        return allowed

    def _favoured(
        self,
        written: Sequence[int],
        playing: Sequence[frozenset[int]],
        unchanged: Sequence[frozenset[int]],
        families: TokenFamilies,
    ) -> list[Favoured]:
        """Of each bar to write, of which ``_playing`` and ``_unchanged`` say what may play, and what does as before."""
        chosen = [may - as_before - self.given_tracks for may, as_before in zip(playing, unchanged, strict=True)]
        named = self.tracks.named if self.tracks and not self.needs_piece else ()
        bars = list(zip(written, chosen, strict=True))
        return favoured_instruments(bars, self.sections, self.tracks, families.melody_ranks, named)

    def _limits(
        self, number: int, instruments: frozenset[int], bars: Sequence[np.ndarray], families: TokenFamilies
    ) -> BarLimits:
        """``instruments``: that may play; ``bars``: of the piece, in whose metre each is written anew."""

        def allowed(letter: str, wished: int | None, song: np.ndarray) -> frozenset[int] | None:
            if wished is not None:
                return frozenset({wished})
            of_letter = families.family_of_token[song] == LETTERS.index(letter)
            return frozenset(families.value_of_token[song][of_letter].tolist()) or None

        own, near = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        if self.needs_piece:
            own, near = bars[number - 1], self._bars_near(number, bars)
        may_all = len(instruments) == len(families.representation.instruments)
        tempos, metres = allowed("t", self.tempo, near), allowed("s", self.metre, own)
        return BarLimits(None if may_all else instruments, tempos, metres)
