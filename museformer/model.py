"""``Museformer``: the model, and the ways of writing with it."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import torch
from miditoolkit import MidiFile
from typing_extensions import Unpack

from museformer_plugin.models.protocol import BarAwareModel

from .errors import RequestError, in_words_of
from .loading import SHIPPED, load_decoder
from .options import Asked, WritingOptions, asked_for
from .stream import BarStream, WrittenSong
from .writing import open_stream

Song: TypeAlias = str | Path | MidiFile


class Museformer:
    """A model that writes songs. Songs come in as paths or miditoolkit ``MidiFile``, which stay as they are.

    Every way of writing takes the options of ``WritingOptions`` by name, and raises RequestError, with a sentence, for
    songs that cannot be used, options that make no sense or contradict each other, and what the model has not learnt.
    """

    def __init__(self, decoder: BarAwareModel) -> None:
        self._decoder = decoder

    @classmethod
    def from_pretrained(cls, folder: str | Path | None = None, device: str | torch.device | None = None) -> Museformer:
        """Load ``model.pt`` and ``dict.txt`` of a folder; without one the weights that ship with the repository.

        ``device``: where it computes, ``"cpu"`` without one. Nothing in the files is run. Raises RequestError where
        they cannot be loaded, or the device is none.
        """
        try:
            chosen = torch.device(device or "cpu")
            torch.empty(0, device=chosen)
        except (RuntimeError, AssertionError) as error:
            raise RequestError(f"device= cannot be {str(device)!r} here: {str(error).splitlines()[0]}.") from None
        with in_words_of():
            return cls(load_decoder(SHIPPED if folder is None else Path(folder), chosen))

    @property
    def is_steerable(self) -> bool:
        """Whether it can be told of bars: fill in, accompany, vary, and keep to a form, a length or a density."""
        return getattr(self._decoder, "condition_columns", None) is not None

    @property
    def representation(self) -> str:
        """What songs it writes: ``six_track`` (4/4, six tracks) or ``general`` (any metre, any instruments)."""
        return self._decoder.families.representation.name

    @property
    def tracks(self) -> tuple[str, ...]:
        """Names of the tracks that it writes; empty where they are General MIDI programs, 0 to 127, and drums."""
        return tuple(self._decoder.families.representation.track_names().values())

    def sample(self, bars: int | None = None, **options: Unpack[WritingOptions]) -> WrittenSong:
        """A song from scratch. ``bars``: how many it has; without it the model decides."""
        return self._open({}, None, bars=bars, **options).finish()

    def continue_(
        self, song: Song, prompt_bars: int = 8, bars: int | None = None, **options: Unpack[WritingOptions]
    ) -> WrittenSong:
        """The first ``prompt_bars`` bars of a song as they are, and what the model writes behind them.

        ``bars``: how many the whole has, those that are kept included; without it the model decides. What the song
        has behind the kept bars is left out.
        """
        return self._open({}, song, prompt_bars=prompt_bars, bars=bars, **options).finish()

    def fill(self, song: Song, bars: str | int, **options: Unpack[WritingOptions]) -> WrittenSong:
        """The song with ``bars`` (``"9-12,25-28"``, counted from 1) written anew, to go with those around them."""
        return self._open({"fill_bars": "bars"}, song, fill_bars=bars, **options).finish()

    def accompany(
        self, song: Song, given: str | Sequence[str] = "melody", **options: Unpack[WritingOptions]
    ) -> WrittenSong:
        """The tracks ``given`` of a song as they are, and others that the model writes to them in place of its own."""
        return self._open({"accompany": "given"}, song, accompany=given, **options).finish()

    def vary(self, song: Song, bars: str | int, **options: Unpack[WritingOptions]) -> WrittenSong:
        """The song with ``bars`` (``"9-16"``) written anew, close to what they were."""
        return self._open({"vary_bars": "bars"}, song, vary_bars=bars, **options).finish()

    def stream(
        self,
        song: Song | None = None,
        *,
        bars: int | None = None,
        prompt_bars: int | None = None,
        fill: str | int | None = None,
        accompany: str | Sequence[str] | None = None,
        vary: str | int | None = None,
        **options: Unpack[WritingOptions],
    ) -> BarStream:
        """The same, bar by bar as they are written.

        Without a song as ``sample(bars)``; with one as ``fill(song, fill)``, ``accompany(song, accompany)``,
        ``vary(song, vary)``, else ``continue_(song, prompt_bars, bars)``. The same seed gives the same bars.
        """
        if song is not None and prompt_bars is None and fill is accompany is vary is None:
            prompt_bars = 8
        kinds = {"fill_bars": fill, "accompany": accompany, "vary_bars": vary, "prompt_bars": prompt_bars}
        called = {"fill_bars": "fill", "vary_bars": "vary"}
        return self._open(called, song, bars=bars, **kinds, **options)

    def _open(self, called: dict[str, str], song: Song | None, **arguments: Any) -> BarStream:
        """``called``: what arguments are called, where not as in ``Asked``."""
        words = partial(in_words_of, {name.replace("_", "-"): argument for name, argument in called.items()})
        asked: Asked = asked_for(called, **arguments)
        seed = secrets.randbits(31) if asked.seed is None else asked.seed
        with words():
            return open_stream(self._decoder, asked, song, seed, words)
