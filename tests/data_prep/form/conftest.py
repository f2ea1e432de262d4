import random

import numpy as np
import pytest

from data_prep.form.sections import parse_form

MELODY, PIANO, DRUMS = 80, 0, 128
SCALE = (60, 62, 64, 65, 67, 69, 71, 72)


def _section(letter, bars, seed):
    """Rows of ``coded_notes`` of a section of its own, from bar 0: chords, drums, and a melody for capitals."""
    chance = random.Random(f"{letter} {bars} {seed}")
    rows = []
    for bar in range(bars):
        if letter.isupper():
            onsets = (
                [0, 24] if bar % 4 == 3 else sorted({0, *chance.sample(range(0, 48, 6), 5)})
            )  # phrases of four bars
            rows += [(bar, MELODY, onset, chance.choice(SCALE), 6, 20) for onset in onsets]
        rows += [(bar, DRUMS, onset, 164, 3, 20) for onset in (0, 12, 24, 36)]
        root = chance.choice(SCALE[:7])
        rows += [(bar, PIANO, 0, root - 12 + third, 24, 16) for third in (0, 4, 7)]
    return np.array(rows, dtype=np.int64)


@pytest.fixture
def write_song():
    """A function (form, seed) to notes and number of bars of a song whose sections of one letter are the same."""

    def write(form, seed=0):
        sections = parse_form(form)
        parts = []
        for section in sections:
            part = _section(section.letter, section.bars, seed)
            part[:, 0] += section.first_bar
            parts.append(part)
        return np.concatenate(parts), sections[-1].first_bar + sections[-1].bars

    return write
