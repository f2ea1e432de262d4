"""Hear the form of a piece from its notes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_prep.form import bar_lines, spans, weights
from data_prep.form.bar_lines import bar_line_features, both_ways, running_sums
from data_prep.form.letters import lettered
from data_prep.form.likeness import Piece, likeness_of
from data_prep.form.repeats import repeated_bars
from data_prep.form.sections import Section
from data_prep.form.segmentation import best_cut
from data_prep.form.spans import span_features
from data_prep.tokens.coded_notes import BAR

_OF_LINES = np.array([weights.BAR_LINES[name] for name in bar_lines.NAMES])
_OF_SPANS = np.array([weights.SPANS[name] for name in spans.NAMES])
_OF_LENGTHS = np.array(weights.LENGTHS)


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
    shifted = both_ways(likeness.all)
    has_melody = piece.has_melody()
    lines = np.tensordot(_OF_LINES, bar_line_features(piece, likeness, shifted), 1)
    scores = lines[:, None] + np.tensordot(_OF_SPANS, span_features(shifted, has_melody), 1) + _OF_LENGTHS
    sections = lettered(best_cut(scores), running_sums(likeness.all), has_melody)
    played = np.bincount(notes[:, BAR], minlength=num_bars) > 0
    return Form(sections, repeated_bars(likeness.all, sections, played))
