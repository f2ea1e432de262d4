"""From what is asked to a stream of bars: the song read, the request made, the generator set going."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from miditoolkit import MidiFile

from data_prep.prompt import track_names
from data_prep.source.read import read_source
from data_prep.source.source_song import SourceSong
from data_prep.tokens.vocabulary import Representation
from museformer_plugin.generator import MuseformerGenerator
from museformer_plugin.models.protocol import BarAwareModel
from museformer_plugin.piece_rules import PieceRules
from museformer_plugin.steering.request import Request
from museformer_plugin.steering.wishes import Wishes

from .errors import RequestError, in_words_of
from .options import Asked
from .placing import IntoSong, NewSong, Place
from .stream import BarStream


def open_stream(
    decoder: BarAwareModel,
    asked: Asked,
    song: str | Path | MidiFile | None,
    seed: int,
    words: Callable[[], AbstractContextManager[None]],
) -> BarStream:
    """Everything is checked here, so that the stream itself does not fail. Raises RequestError, or what it is made of.

    ``words`` turns errors into RequestError in the words of the call.
    """
    families = decoder.families
    representation = families.representation
    source, given = _read(asked, song, representation)
    if source is not None:
        asked = replace(asked, accompany=",".join(given))
    wishes = asked.wishes(representation)
    _check_learnt(decoder, wishes)
    place: Place
    tokens, kept = np.empty(0, dtype=np.int64), 0
    if source is None:
        place = NewSong(representation, asked.semitones(), asked.tempo)
    else:
        cut_after = None if asked.writes_into_song else min(asked.prompt_bars or 0, source.bar_count)
        kept = cut_after or source.bar_count
        place = IntoSong(source, given, cut_after, asked.tempo)
        by_bar = source.bars()
        spelled = [token for bar in range(1, kept + 1) for token in by_bar[bar]]
        tokens = np.array([decoder.dictionary.index(token) for token in spelled], dtype=np.int64)
    request = wishes.request_for(tokens, families) if wishes.are_any else None
    numbers: Iterator[int] = count(kept + 1) if request is None else iter(request.written)
    prompt = tokens if request is None else request.prompt()
    bars = 0 if request is None or request.open_ended else len(request.written)
    rules = PieceRules(families, 0, asked.longest(len(prompt), bars))
    generator = MuseformerGenerator(decoder, asked.sampling(families), rules, seed=seed, progress=asked.progress)
    written = generator.bars(_sample(decoder, prompt, request))
    spelled_bars = (tuple(decoder.dictionary[token] for token in bar) for bar in written)
    return BarStream(zip(numbers, spelled_bars), place, _sentences(asked, source), seed, words)


def _read(
    asked: Asked, song: str | Path | MidiFile | None, representation: Representation
) -> tuple[SourceSong | None, list[str]]:
    """The song, where one is needed, and the names of its given tracks."""
    if song is None:
        if asked.writes_into_song or asked.prompt_bars:
            raise RequestError("song= is missing: name a MIDI file, or pass a miditoolkit MidiFile.")
        return None, []
    if not isinstance(song, (str, Path, MidiFile)):
        raise RequestError(f"song= takes the path of a MIDI file or a miditoolkit MidiFile, not {song!r}.")
    if asked.key:
        raise RequestError("key= does not go with a song, which has a key of its own: leave it out.")
    names = track_names(asked.accompany)
    with in_words_of(song="The song" if isinstance(song, MidiFile) else str(song)):
        source = read_source(song, representation, needs_melody="melody" in names)
        return source, [representation.name_of(instrument) for instrument in source.instruments_of(names)]


def _check_learnt(decoder: BarAwareModel, wishes: Wishes) -> None:
    """Raise RequestError where the model has to be told what it cannot be told."""
    if getattr(decoder, "condition_columns", None) is not None:
        return
    told = {
        "fill in": wishes.fill_bars,
        "vary": wishes.vary_bars,
        "accompany": wishes.given_tracks,
        "keep to form=": wishes.form.sections,
        "keep to repeats=": wishes.repeats,
        "end at bars=": wishes.bars,
        "keep to density=": wishes.notes >= 0,
    }
    asked = [what for what, wished in told.items() if wished]
    if asked:
        raise RequestError(
            f"This model cannot {asked[0]}: it was not trained to be told of bars. It can sample and continue, with "
            "tracks=, tempo= and metre=; load another with from_pretrained for the rest."
        )


def _sample(decoder: BarAwareModel, prompt: np.ndarray, request: Request | None) -> dict[str, Any]:
    """What the generator takes: one prompt."""
    begun = np.concatenate([[decoder.dictionary.eos()], prompt])
    device = next(decoder.parameters()).device  # type: ignore[attr-defined]
    source = torch.from_numpy(begun).to(device)[None]
    sample: dict[str, Any] = {"net_input": {"src_tokens": source}, "prompt_lengths": torch.tensor([len(begun)])}
    return sample if request is None else {**sample, "requests": [request]}


def _sentences(asked: Asked, source: SourceSong | None) -> tuple[str, ...]:
    sentences = list(source.sentences) if source is not None else []
    if asked.key:
        sentences.append(
            f"Models write in C major or A minor, as they choose; key={asked.key!r} brings the one that it names there."
        )
    return tuple(sentences)
