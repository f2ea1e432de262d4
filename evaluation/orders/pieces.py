"""Songs as tokens, as bars and as notes, and excerpts of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data_prep.command import CommandError
from data_prep.tokens.coded_notes import BAR, coded_notes
from museformer_plugin.steering.sequence_bars import cut_bars
from museformer_plugin.token_families import TokenFamilies


@dataclass(frozen=True)
class Piece:
    """``tokens``: int64 [n], without begin token and ``</s>``. ``bars``: the same, bar by bar. ``notes``: int64 [N, 6],
    as ``data_prep.tokens.coded_notes`` has them, bars counted from 0."""

    tokens: np.ndarray
    bars: list[np.ndarray]
    notes: np.ndarray

    @staticmethod
    def of(tokens: np.ndarray, families: TokenFamilies) -> Piece:
        """The complete bars of ``tokens``."""
        bars = cut_bars(tokens, families.end_of_bar)
        tokens = np.concatenate([np.empty(0, dtype=np.int64), *bars])
        values = families.value_of_token[tokens]
        notes = coded_notes(families.family_of_token[tokens], values, families.representation)
        return Piece(tokens, bars, notes)

    def __len__(self) -> int:
        return len(self.bars)

    def excerpt(self, first: int, count: int, families: TokenFamilies) -> Piece:
        """The ``count`` bars from ``first`` (from 0) on, as a piece of its own."""
        return Piece.of(np.concatenate(self.bars[first : first + count]), families)

    def notes_in(self, first: int, stop: int) -> np.ndarray:
        """int64 [n, 6]: those that begin in the bars from ``first`` up to before ``stop``, bars counted from there."""
        found = self.notes[(self.notes[:, BAR] >= first) & (self.notes[:, BAR] < stop)]
        return found - (np.arange(found.shape[1]) == BAR) * first


def excerpts(
    songs: Sequence[Piece], count: int, bars: int, families: TokenFamilies, chance: np.random.Generator
) -> list[Piece]:
    """``count`` excerpts of ``bars`` bars, song after song, each from a random place; shorter songs are left out.

    Raises CommandError when no song is long enough.
    """
    long_enough = [song for song in songs if len(song) >= bars]
    if not long_enough:
        raise CommandError(f"No song has {bars} bars.")
    chosen = [long_enough[n % len(long_enough)] for n in range(count)]
    return [song.excerpt(int(chance.integers(len(song) - bars + 1)), bars, families) for song in chosen]
