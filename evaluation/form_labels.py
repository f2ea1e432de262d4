"""Measure the heard form of songs against what two people heard.

    python -m evaluation.form_labels form_labels.tsv MIDI_FOLDER

LABELS.tsv has the columns file, first_bar, labels_1 and labels_2: a MIDI file under MIDI_FOLDER, the bar of it, counted
from 1 at tick 0, where the labels begin, and the two people's sections as i4A8A8B8o2. The track named MELODY is the
melody. The method was fitted to songs with odd numbers in their names; those with even ones are what is measured.
Prints a table for each folder of songs: means over songs, with 95 % intervals by bootstrap.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data_prep.command import CommandError, run_command
from data_prep.form.hear import form_of
from data_prep.form.sections import Section, parse_form
from data_prep.six_track.roles import MELODY, assign_roles, merge
from data_prep.six_track.tracks import features_of, read_tracks
from data_prep.tokens.coded_notes import BAR, coded_notes
from data_prep.tokens.encode import encode
from data_prep.tokens.grammar import BAR_END, coded_tokens
from data_prep.tokens.song import Song, SongError, changes_of, parse_midi
from data_prep.tokens.vocabulary import SIX_TRACK
from evaluation.bootstrap import Bootstrap, Estimate
from evaluation.form_agreement import MEASURES, agreement

SONGS = {"even": (0,), "odd": (1,), "all": (0, 1)}  # remainders of their numbers by 2
BASELINE_BARS = 8
COMPARED = ("ours : first", "ours : second", "first : second", "baseline : first", "baseline : second")
_COLUMNS = ("file", "first_bar", "labels_1", "labels_2")
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Labelled:
    """A row of the labels: the file, the bar of it where the labels begin (from 0), and two people's sections."""

    file: str
    first_bar: int
    labels: tuple[tuple[Section, ...], tuple[Section, ...]]

    @property
    def number(self) -> int:
        """The song's number: the first in the file's name, 0 without one."""
        found = _NUMBER.search(Path(self.file).name)
        return int(found[0]) if found else 0


def read_labels(path: Path) -> list[Labelled]:
    """The rows of a labels file. Raises CommandError naming the line that cannot be read."""
    if not path.is_file():
        raise CommandError(f"There are no labels at {path}.")
    with path.open(encoding="utf-8", errors="replace", newline="") as stream:
        rows = csv.DictReader(stream, delimiter="\t")
        if missing := [column for column in _COLUMNS if column not in (rows.fieldnames or ())]:
            raise CommandError(
                f"{path}: its first line has no column {missing[0]}; it must name {', '.join(_COLUMNS)}."
            )
        found = []
        for row in rows:
            try:
                first_bar = int(row["first_bar"] or "") - 1
                if first_bar < 0:
                    raise ValueError("first_bar counts from 1")
                labels = parse_form(row["labels_1"] or ""), parse_form(row["labels_2"] or "")
            except ValueError as error:  # FormError is one
                raise CommandError(f"{path}, line {rows.line_num}: {error}.") from None
            found.append(Labelled(row["file"], first_bar, labels))
    return found


def notes_of_song(path: Path, first_bar: int, named: bool = True) -> tuple[np.ndarray, int]:
    """The notes from ``first_bar`` (from 0) on, as ``coded_notes`` has them, bars counted from there, and the bars.

    Tracks become those of six_track; the one named MELODY is the melody, unless ``named`` is false. Raises CommandError
    for a file that cannot be read or has no such track.
    """
    try:
        midi = parse_midi(path)
        tracks, _ = read_tracks(midi)
        melody = [track for track in tracks if named and track.name == "MELODY"]
        if named and not melody:
            raise CommandError(f"{path} has no track named MELODY.")
        notes = merge(tracks, assign_roles(tracks, features_of(tracks), melody), 0.0)
        song = Song(notes, *changes_of(midi, int(notes[:, 0].max()) + 1))
        families, values = coded_tokens(encode(song, SIX_TRACK, keep_empty_bars=True), SIX_TRACK).T
    except SongError as error:
        raise CommandError(f"{path}: {error}.") from None
    coded = coded_notes(families, values, SIX_TRACK)
    coded = coded[coded[:, BAR] >= first_bar]
    coded[:, BAR] -= first_bar
    return coded, max(0, int((families == BAR_END).sum()) - first_bar)


def compare(song: Labelled, folder: Path, named: bool) -> np.ndarray:
    """float64 [comparisons, measures], in the order of COMPARED and MEASURES."""
    path = folder / song.file
    if not path.is_file():
        raise CommandError(f"There is no MIDI file at {path}; MIDI_FOLDER must hold the files that the labels name.")
    notes, bars = notes_of_song(path, song.first_bar, named)
    heard = form_of(notes, bars, MELODY if named else None).sections
    first, second = song.labels
    plain = [Section("A", start, min(BASELINE_BARS, bars - start)) for start in range(0, bars, BASELINE_BARS)]
    pairs = [(heard, first), (heard, second), (first, second), (plain, first), (plain, second)]
    return np.array([agreement(*pair) for pair in pairs])


def table(title: str, figures: np.ndarray) -> str:
    """The means of ``figures``, float64 [songs, comparisons, measures], and how far ours lie below the two people's."""
    bootstrap = Bootstrap()
    lines = [f"{title}: {len(figures)} songs", "  ".join(f"{name:>20}" for name in ("", *MEASURES))]
    for index, name in enumerate(COMPARED):
        cells = [_cell(bootstrap.mean(figures[:, index, measure])) for measure in range(len(MEASURES))]
        lines.append("  ".join(f"{cell:>20}" for cell in (name, *cells)))
    for name in ("boundary F1", "pair F1"):
        ours, second, people = figures[:, :3, MEASURES.index(name)].T
        missed = bootstrap.mean(people - (ours + second) / 2)
        lines.append(f"{name}: ours are {_cell(missed)} below what the two reach with each other")
    return "\n".join(lines)


def _cell(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _run(args: argparse.Namespace) -> int:
    songs = [song for song in read_labels(args.labels) if song.number % 2 in SONGS[args.songs]]
    if not songs:
        raise CommandError(f"{args.labels} names no songs to measure.")
    figures: dict[str, list[np.ndarray]] = {}
    for song in tqdm(songs, desc="hearing", unit="song", leave=False):
        figures.setdefault(str(Path(song.file).parent), []).append(compare(song, args.midi_folder, not args.unnamed))
    print("\n\n".join(table(folder, np.array(rows)) for folder, rows in figures.items()))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m evaluation.form_labels", description=__doc__.split("\n")[0])
    parser.add_argument("labels", metavar="LABELS.tsv", type=Path, help="what two people heard")
    parser.add_argument("midi_folder", metavar="MIDI_FOLDER", type=Path, help="where the files are that it names")
    parser.add_argument("--songs", choices=SONGS, default="even", help="those with such numbers (default: %(default)s)")
    parser.add_argument(
        "--unnamed", action="store_true", help="as if no track were named the melody: the highest notes"
    )
    args = parser.parse_args(arguments)
    return run_command(lambda: _run(args), "Interrupted.")


if __name__ == "__main__":
    sys.exit(main())
