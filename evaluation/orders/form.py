"""Whether a form that is asked for can be heard.

For every piece of a known form two mean similarities of melody bars, |A and B| / |A or B| of their notes as
``data_prep.similarity.bars`` defines it: of bars at the same place of two sections under one letter, and of bars of
sections under different letters. Only sections with a melody that may come again count (capital letters but X), and
pairs of two empty bars do not. The ratio is that of the two means, pooled over all pairs of all pieces.

The form that ``data_prep.form`` hears in a written piece is compared with the one asked for as
``evaluation.form_agreement`` does; beside it stand how far the two people of labelled songs agree with each other, and
how far what is heard in these songs agrees with them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data_prep.form.hear import form_of
from data_prep.form.outlines import parse_outline
from data_prep.form.sections import LETTER, PASSING_MELODY, PLACE, SECTION_LETTERS, Section, bar_columns, parse_form
from data_prep.similarity.matrix import similarity_matrix
from data_prep.tokens.coded_notes import BAR, DURATION, INSTRUMENT, ONSET, PITCH
from data_prep.tokens.vocabulary import SIX_TRACK
from evaluation.bootstrap import Bootstrap, ratio_of_sums
from evaluation.form_agreement import MEASURES, agreement
from evaluation.form_labels import notes_of_song, read_labels
from museformer_plugin.steering.wishes import Wishes

from .pieces import Piece
from .tables import figure, markdown
from .writer import Writer

# As people write down the forms of songs: 96 of 100 begin with an intro, and sections of 4 or 8 bars come in pairs.
FORMS = (
    "i4A8A8B8A8o2",
    "i4A4A4B8x4A4A4B8o3",
    "i4A8B8x4A8B8o2",
    "i8A8A8B8b8B8o4",
    "i4A8B4B4x4A8B4B4o2",
)
MELODY = SIX_TRACK.instrument_of("melody")
_COMPARED = ("boundary F1", "pair F1")
_MELODIC = [index for index, letter in enumerate(SECTION_LETTERS) if letter.isupper() and letter != PASSING_MELODY]


@dataclass(frozen=True)
class FormFigures:
    """``similarities`` float64 [pieces, 4]: sum and number of pairs under one letter, sum and number under others.

    ``agreements`` float64 [n, 2]: boundary F1 and pair F1 of two forms of a piece each.
    """

    similarities: np.ndarray
    agreements: np.ndarray


def similarities_of(notes: np.ndarray, sections: Sequence[Section]) -> np.ndarray:
    """float64 [4], as ``FormFigures`` has them, of the notes, int64 [N, 6], of a piece of this form."""
    columns = bar_columns(sections)
    of_section = np.repeat(np.arange(len(sections)), [section.bars for section in sections])
    melody = notes[(notes[:, INSTRUMENT] == MELODY) & (notes[:, BAR] < len(columns))]
    similarity = similarity_matrix(melody[:, [BAR, ONSET, PITCH, DURATION]], len(columns))
    letters, places = columns[:, LETTER], columns[:, PLACE]
    sung = np.isin(letters, _MELODIC)
    counted = np.tril(sung[:, None] & sung[None], -1) & ~np.isnan(similarity)
    same = counted & (letters[:, None] == letters[None]) & (places[:, None] == places[None])
    same &= of_section[:, None] != of_section[None]
    other = counted & (letters[:, None] != letters[None])
    return np.array([similarity[same].sum(), same.sum(), similarity[other].sum(), other.sum()], dtype=float)


def agreement_of(form: Sequence[Section], other: Sequence[Section]) -> np.ndarray:
    """float64 [2]: boundary F1 and pair F1."""
    return agreement(form, other)[[MEASURES.index(name) for name in _COMPARED]]


def of_written(pieces: Sequence[Piece], forms: Sequence[str]) -> FormFigures:
    """Of pieces that were asked for in these ``forms``: the form heard is compared with the one asked for."""
    asked = [parse_form(form) for form in forms]
    heard = [form_of(piece.notes, len(piece), MELODY).sections for piece in pieces]
    return FormFigures(
        np.array([similarities_of(piece.notes, sections) for piece, sections in zip(pieces, asked)]),
        np.array([agreement_of(*pair) for pair in zip(heard, asked)]),
    )


def of_labelled(labels: Path, midi_folder: Path) -> tuple[FormFigures, np.ndarray]:
    """Of the labelled songs with even numbers, one file of each: similarities under the first person's labels, and how
    far the two people agree; and float64 [songs, 2] how far what is heard agrees with them, their mean.

    Raises CommandError where labels or songs cannot be read.
    """
    by_number = {song.number: song for song in reversed(read_labels(labels)) if song.number % 2 == 0}
    similarities, people, heard = [], [], []
    for song in tqdm(by_number.values(), desc="labelled songs", unit="song", leave=False):
        notes, bars = notes_of_song(midi_folder / song.file, song.first_bar)
        first, second = song.labels
        ours = form_of(notes, bars, MELODY).sections
        similarities.append(similarities_of(notes, first))
        people.append(agreement_of(first, second))
        heard.append((agreement_of(ours, first) + agreement_of(ours, second)) / 2)
    return FormFigures(np.array(similarities), np.array(people)), np.array(heard)


def write(writer: Writer, count: int) -> tuple[list[Piece], list[str]]:
    """``count`` pieces, in the FORMS in turn, and the form that each was asked for in."""
    forms = [FORMS[n % len(FORMS)] for n in range(count)]
    nothing = np.empty(0, dtype=np.int64)
    requests = [Wishes(form=parse_outline(form)).request_for(nothing, writer.families) for form in forms]
    return writer.write(requests), forms


def report(writer: Writer, songs: Sequence[Piece], count: int, labels: Path | None, midi_folder: Path | None) -> str:
    """The table; of real songs those that are labelled where they are named, and ``songs`` by the form heard."""
    pieces, forms = write(writer, count)
    written = of_written(pieces, forms)
    rows = [_row(f"written, {count} pieces, form asked for", written)]
    for form in FORMS[:count]:
        chosen = [n for n, other in enumerate(forms) if other == form]
        rows.append(_row(f"- {form}", FormFigures(written.similarities[chosen], written.agreements[chosen])))
    if labels is not None and midi_folder is not None:
        people, heard = of_labelled(labels, midi_folder)
        rows.append(_row(f"{len(heard)} labelled songs, one person's form; the other's", people))
        rows.append(_row("the same songs, form heard; a person's", FormFigures(np.zeros((0, 4)), heard)))
    real = [form_of(song.notes, len(song), MELODY).sections for song in songs]
    similarities = np.array([similarities_of(song.notes, sections) for song, sections in zip(songs, real)])
    rows.append(_row(f"{len(songs)} test songs, form heard", FormFigures(similarities, np.zeros((0, 2)))))
    return markdown(["form", "one letter, same place (%)", "different letters (%)", "ratio", *_COMPARED], rows)


def _row(name: str, figures: FormFigures) -> list[str]:
    bootstrap = Bootstrap()
    similarities, agreements = figures.similarities, figures.agreements
    same = other = ratio = "-"
    if len(similarities):
        same = figure(bootstrap.estimate(ratio_of_sums, similarities[:, :2]), 1, percent=True)
        other = figure(bootstrap.estimate(ratio_of_sums, similarities[:, 2:]), 1, percent=True)
        ratio = figure(bootstrap.estimate(_ratio, similarities), 1)
    agreed = [figure(bootstrap.mean(column), 3) for column in agreements.T] if len(agreements) else ["-", "-"]
    return [name, same, other, ratio, *agreed]


def _ratio(sums: np.ndarray) -> float:
    other = ratio_of_sums(sums[2:])
    return ratio_of_sums(sums[:2]) / other if other else np.nan
