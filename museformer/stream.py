"""A song while it is being written, bar by bar, and when it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from miditoolkit import MidiFile

from data_prep.folders.files import write_whole
from data_prep.tokens.decode import midi_bytes

from .errors import RequestError, in_words_of
from .placing import Place, WrittenBar


@dataclass(frozen=True)
class WrittenSong:
    """What has been written.

    ``midi``: the whole song, for miditoolkit. ``written``: by number the tokens of the bars that were written, as the
    model spelled them, in C major or A minor. ``sentences``: what was done to the caller's song, and what is to be
    known. ``seed``: the one that writes it again.
    """

    midi: MidiFile = field(repr=False)
    written: Mapping[int, tuple[str, ...]] = field(repr=False)
    sentences: tuple[str, ...]
    seed: int

    @property
    def tokens(self) -> list[str]:
        """The tokens of the written bars, in order."""
        return [token for number in sorted(self.written) for token in self.written[number]]

    def save(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write a MIDI file; returns its path. Raises RequestError where there is one already, or it cannot be."""
        path = Path(path)
        if path.exists() and not overwrite:
            raise RequestError(f"{path} exists already: name another file, or pass overwrite=True.")
        with in_words_of():
            write_whole(path, midi_bytes(self.midi))
        return path


class BarStream(Iterator[WrittenBar]):
    """The bars of a song, each as soon as it is written; ``song`` is what there is so far."""

    def __init__(
        self,
        bars: Iterator[tuple[int, tuple[str, ...]]],
        place: Place,
        sentences: tuple[str, ...],
        seed: int,
        words: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._bars, self._place, self._words = bars, place, words
        self._written: dict[int, tuple[str, ...]] = {}
        self.sentences = sentences
        self.seed = seed

    def __next__(self) -> WrittenBar:
        number, tokens = self._next()
        return self._place.bar(number, self._written)

    def _next(self) -> tuple[int, tuple[str, ...]]:
        with self._words():
            number, tokens = next(self._bars)
        self._written[number] = tokens
        return number, tokens

    def song(self) -> WrittenSong:
        """The song with the bars that have been written so far; all of it once the stream is at its end."""
        with self._words():
            midi = self._place.song(self._written)
        return WrittenSong(midi, dict(self._written), self.sentences, self.seed)

    def finish(self) -> WrittenSong:
        """Write what is left, and return the whole song."""
        with suppress(StopIteration):
            while True:
                self._next()
        return self.song()
