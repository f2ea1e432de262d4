"""Hear the form of a piece from its notes, or from its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data_prep.form.bar_lines import bar_line_features, both_ways, running_sums
from data_prep.form.letters import lettered
from data_prep.form.likeness import Likeness, Piece, likeness_of
from data_prep.form.repeats import repeated_bars
from data_prep.form.sections import Section
from data_prep.form.segmentation import best_cut, span_probabilities
from data_prep.form.spans import span_features
from data_prep.form.support import support_features
from data_prep.form.weights import FIRST, SECOND
from data_prep.tokens.coded_notes import BAR, coded_notes
from data_prep.tokens.grammar import BAR_END, coded_tokens
from data_prep.tokens.vocabulary import Representation, detect_representation


@dataclass(frozen=True)
class Form:
    """``sections`` cover all bars, in order. ``repeats``: int64 [bars], the earlier bar that each bar repeats or
    varies, -1 for none; bars are counted from 0."""

    sections: tuple[Section, ...]
    repeats: np.ndarray


def form_of(notes: np.ndarray, num_bars: int, melody: int | None) -> Form:
    """The form of a piece of ``num_bars`` bars, as docs/form.md describes; equal notes have an equal form.

    ``notes``: int64 [N, 6], as ``data_prep.tokens.coded_notes`` gives them, bars below ``num_bars``. ``melody``: the
    instrument that has the melody; None takes the highest note at each onset.
    """
    if not num_bars:
        return Form((), np.zeros(0, dtype=np.int64))
    piece = Piece.of(notes, num_bars, melody)
    likeness = likeness_of(piece)
    sections = lettered(_lines(piece, likeness), running_sums(likeness.all), piece.has_melody())
    played = np.bincount(notes[:, BAR], minlength=num_bars) > 0
    return Form(sections, repeated_bars(likeness.all, sections, played))


def hear_tokens(families: np.ndarray, values: np.ndarray, representation: Representation) -> tuple[np.ndarray, Form]:
    """The notes of the complete bars of a piece, as ``coded_notes`` has them, and their form.

    ``families`` and ``values``, int64 [n], are its tokens as ``data_prep.tokens.grammar.coded_symbols`` has them.
    """
    num_bars = int((families == BAR_END).sum())
    notes = coded_notes(families, values, representation)
    notes = notes[notes[:, BAR] < num_bars]
    melody = representation.instrument_of("melody") if representation.tracks else None
    return notes, form_of(notes, num_bars, melody)


def heard_form(tokens: Sequence[str]) -> Form:
    """The form of the complete bars of a piece; what is no token means nothing."""
    representation = detect_representation(tokens)
    coded = coded_tokens(tokens, representation)
    return hear_tokens(coded[:, 0], coded[:, 1], representation)[1]


def _lines(piece: Piece, likeness: Likeness) -> np.ndarray:
    """int64 [sections + 1]: the lines between which the sections lie, heard twice."""
    shifted = both_ways(likeness.all)
    lines = bar_line_features(piece, likeness, shifted)
    spans = span_features(shifted, piece.has_melody())
    first = span_probabilities(FIRST.scores(lines, spans))
    more_lines, more_spans = support_features(running_sums(shifted), first)
    return best_cut(SECOND.scores(np.concatenate([lines, more_lines]), np.concatenate([spans, more_spans])))
