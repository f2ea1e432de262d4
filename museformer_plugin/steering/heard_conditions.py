"""What could be said of the bars of a piece, heard from its tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data_prep.form.hear import Form, hear_tokens
from data_prep.tokens.coded_notes import BAR, INSTRUMENT
from data_prep.tokens.vocabulary import DRUMS

from ..token_families import TokenFamilies
from .conditions import BarConditions, Role
from .form_columns import columns_of_form, distances_of
from .sequence_bars import SequenceBar


def heard_conditions(tokens: np.ndarray, families: TokenFamilies) -> BarConditions:
    """Of all complete bars of a piece, int64 [n], begin token left out."""
    notes, form = _heard(tokens, families)
    num_bars, representation = len(form.repeats), families.representation
    tracks = np.zeros((num_bars, len(representation.instruments)), dtype=bool)
    rank_of = np.zeros(DRUMS + 1, dtype=np.int64)
    rank_of[list(representation.instruments)] = np.arange(len(representation.instruments))
    tracks[notes[:, BAR], rank_of[notes[:, INSTRUMENT]]] = True
    bars = np.arange(num_bars)
    letters, places, left_in_section = columns_of_form(form.sections)
    return BarConditions(
        roles=np.zeros(num_bars, dtype=np.int64),
        letters=letters,
        places=places,
        left_in_section=left_in_section,
        left_in_piece=num_bars - 1 - bars,
        distances=distances_of(form.repeats),
        notes=np.bincount(notes[:, BAR], minlength=num_bars),
        tracks=tracks,
        tracks_known=np.ones(num_bars, dtype=bool),
    )


def repeats_of_parts(sequence: Sequence[SequenceBar], families: TokenFamilies) -> np.ndarray:
    """``BarConditions.distances`` of a sequence, int64 [n], as the parts of bars that it has of bars 1, 2, … tell."""
    parts = {bar.number: bar.tokens for bar in sequence if bar.role is Role.PART}
    _, form = _heard(np.concatenate([parts[number] for number in sorted(parts)]), families)
    return distances_of(form.repeats)[np.array([bar.number for bar in sequence]) - 1]


def _heard(tokens: np.ndarray, families: TokenFamilies) -> tuple[np.ndarray, Form]:
    """The notes of the complete bars of a piece, as ``coded_notes`` has them, and their form."""
    return hear_tokens(families.family_of_token[tokens], families.value_of_token[tokens], families.representation)
