"""Write six-track songs: our arrangements of traditional tunes, with the forms they follow.

    python -m examples.make_songs OUT_DIR [--count 48] [--seed 1]

writes ``OUT_DIR/001_twinkle.mid`` and so on, and ``OUT_DIR/forms.json``, which names every song's
sections and says for each bar of the melody which earlier bar it repeats exactly. The same seed gives
the same bytes; song n does not depend on how many are written.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Optional

from miditoolkit import Instrument, MidiFile, TempoChange, TimeSignature
from miditoolkit import Note as MidiNote

from data_prep.tokens.vocabulary import DRUMS, POSITIONS_PER_QUARTER, SIX_TRACK

from .arranger import Parts, arrange
from .forms import Section, lay_out
from .notation import BAR
from .patterns import STYLES
from .tunes import TUNES, Tune

TICKS_PER_QUARTER = 480
TICKS_PER_POSITION = TICKS_PER_QUARTER // POSITIONS_PER_QUARTER
MAX_COUNT = 999  # song numbers have three digits
FORMS_FILE = "forms.json"
_RITARDANDO = 0.8  # of the tempo, in the last bar
_KEYS = range(-5, 7)  # semitones above C or A minor


@dataclass(frozen=True)
class Song:
    """One arrangement. ``key`` is in semitones above C major or A minor; bars are numbered from 1.

    ``same_as`` has one entry per bar: the first bar with exactly this melody (equal onsets, pitches and
    durations), its own number when it is new, None when the melody rests.
    """

    name: str
    tune: Tune
    style: str
    form: str
    key: int
    tempo_bpm: int
    sections: tuple[Section, ...]
    same_as: tuple[Optional[int], ...]
    parts: Parts

    @property
    def bars(self) -> int:
        """Length in bars, the intro included."""
        return len(self.same_as)

    def description(self) -> dict[str, object]:
        """The song's entry in ``forms.json``."""
        return {
            "file": f"{self.name}.mid",
            "title": self.tune.title,
            "origin": self.tune.origin,
            "style": self.style,
            "form": self.form,
            "key": self.key,
            "tempo_bpm": self.tempo_bpm,
            "bars": self.bars,
            "sections": [asdict(section) for section in self.sections],
            "same_as": list(self.same_as),
        }


def compose_song(number: int, seed: int) -> Song:
    """Song ``number``, from 1: the tunes take turns, everything else is drawn from the seed."""
    rng = random.Random(f"{seed}/{number}")
    time_round, index = divmod(number - 1, len(TUNES))
    tune = TUNES[index]
    form = tune.forms[time_round % len(tune.forms)]
    style = rng.choice(tune.styles)
    key = rng.choice(_KEYS)
    tempo_bpm = rng.randint(*tune.tempo_bpm)
    sheet = lay_out(tune, form, intro=rng.random() < 0.5, rng=rng)
    return Song(
        name=f"{number:03d}_{tune.slug}",
        tune=tune,
        style=style,
        form=form,
        key=key,
        tempo_bpm=tempo_bpm,
        sections=sheet.sections,
        same_as=tuple(sheet.same_as()),
        parts=arrange(sheet, STYLES[style], key, rng),
    )


def to_midi(song: Song) -> MidiFile:
    """The song as MIDI: 480 ticks a quarter, 4/4, a slower last bar, one track per instrument."""
    midi = MidiFile(ticks_per_beat=TICKS_PER_QUARTER)
    last_bar = (song.bars - 1) * BAR * TICKS_PER_POSITION
    midi.time_signature_changes = [TimeSignature(4, 4, 0)]
    midi.tempo_changes = [TempoChange(song.tempo_bpm, 0), TempoChange(song.tempo_bpm * _RITARDANDO, last_bar)]
    for instrument, notes in song.parts.items():
        drums = instrument == DRUMS
        track = Instrument(0 if drums else instrument, is_drum=drums, name=SIX_TRACK.track_names()[instrument])
        track.notes = [
            MidiNote(n.velocity, n.pitch, n.start * TICKS_PER_POSITION, n.end * TICKS_PER_POSITION) for n in notes
        ]
        midi.instruments.append(track)
    return midi


def write_songs(out_dir: Path, count: int, seed: int) -> list[Song]:
    """Compose and write ``count`` songs and their forms; returns the songs.

    Files of an earlier run are replaced, each in one step. Raises FileExistsError, having written
    nothing, when the folder holds anything that this run would not write.
    """
    songs = [compose_song(number, seed) for number in range(1, count + 1)]
    own = {f"{song.name}.mid" for song in songs} | {FORMS_FILE}
    out_dir.mkdir(parents=True, exist_ok=True)
    foreign = sorted(path.name for path in out_dir.iterdir() if path.name not in own)
    if foreign:
        raise FileExistsError(
            f"{out_dir} already holds {foreign[0]}, which is not a file of these {count} songs: "
            "choose another folder or empty it first"
        )
    for song in songs:
        path = out_dir / f"{song.name}.mid"
        temporary = path.with_suffix(".tmp")
        to_midi(song).dump(str(temporary))
        temporary.replace(path)
    forms = {"seed": seed, "songs": [song.description() for song in songs]}
    temporary = out_dir / f"{FORMS_FILE}.tmp"
    temporary.write_text(json.dumps(forms, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(out_dir / FORMS_FILE)
    return songs


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MAX_COUNT:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of songs from 1 to {MAX_COUNT}")
    return int(text)


def main(arguments: Optional[list[str]] = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m examples.make_songs", description=__doc__.split("\n")[0])
    parser.add_argument("out_dir", type=Path, metavar="OUT_DIR", help="folder for the songs, made if needed")
    parser.add_argument("--count", type=_count, default=48, help="number of songs (default 48)")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other arrangements (default 1)")
    options = parser.parse_args(arguments)
    try:
        songs = write_songs(options.out_dir, options.count, options.seed)
    except OSError as error:
        print(f"make_songs: {error}", file=sys.stderr)
        return 1
    bars = sum(song.bars for song in songs)
    print(f"{len(songs)} songs, {bars} bars, in {os.fspath(options.out_dir)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
