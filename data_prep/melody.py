"""Which track carries the melody: a score with written-down weights."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from data_prep.tracks import Track, TrackFeatures

# A song whose best track scores less has no melody that could be told from its accompaniment.
PLAUSIBLE_SCORE = 5.0
MIN_MELODY_NOTES = 24

# What a feature of ``TrackFeatures`` adds, after the cap in ``melody_score``. The weights were fitted
# (conditional logit, then rounded and evened out by hand) on every second song of POP909 with machine-made
# accompaniment, its track names and programs hidden.
_MONOPHONY = 2.5
_PER_DOUBLING_OF_OVERLAP = -1.5
_COVERAGE = 2.0
_PER_DOUBLING_FROM_USUAL_DENSITY = -0.4
_SQUARED_OCTAVES_FROM_USUAL_PITCH = -0.6
_OCTAVES_ABOVE = 0.5
_LOUDNESS = 1.0  # for 20 steps of velocity above the others
_STEPS = 4.0
_REPEATS = 5.0
_LEAPS = -10.0
_VARIETY = 1.0
_PITCHES = 1.5
_USUAL_PITCH = 69  # A above middle C
_USUAL_DENSITY = 2.5  # log2 of 5.7 notes a bar

# General MIDI families that carry melodies more or less often than others: last program, bonus. Set by
# hand: no song was available in which the choice of programs is a musician's and the melody is named.
_PROGRAMS = (
    (7, 0.0), (15, -0.3), (31, 0.0), (39, -3.0), (42, 0.3), (43, -1.0), (46, -0.5), (47, -3.0), (51, -0.7),
    (54, 0.3), (55, -1.5), (63, 0.3), (79, 0.7), (87, 0.8), (103, -1.0), (111, 0.0), (119, -3.0), (127, -4.0),
)  # fmt: skip
_NAMES = (
    (re.compile(r"melod|vocal|\bvox\b|\bsing|\btheme\b|\btune\b", re.IGNORECASE), 3.0),
    (re.compile(r"\blead\b|\bsolo\b|\bvoice\b", re.IGNORECASE), 1.0),
    (re.compile(r"bass|drum|chord|\bpad\b|rhythm|accomp|harmon|\barp", re.IGNORECASE), -1.5),
)


@dataclass(frozen=True)
class Melody:
    """The track chosen, its score, and by how much it beats the next candidate (infinite without one)."""

    track: Track
    score: float
    margin: float


def melody_score(features: TrackFeatures) -> float:
    """How much a track sounds like a melody: one voice, singable steps, high, loud and often there."""
    density = abs(math.log2(max(1.0, min(features.density, 32.0))) - _USUAL_DENSITY)
    octaves = (features.pitch - _USUAL_PITCH) / 12
    return (
        _MONOPHONY * features.monophony
        + _PER_DOUBLING_OF_OVERLAP * math.log2(max(1.0, min(features.overlap, 8.0)))
        + _COVERAGE * features.coverage
        + _PER_DOUBLING_FROM_USUAL_DENSITY * density
        + _SQUARED_OCTAVES_FROM_USUAL_PITCH * octaves**2
        + _OCTAVES_ABOVE * max(-2.0, min(features.above / 12, 2.0))
        + _LOUDNESS * max(-1.0, min(features.loudness / 20, 1.0))
        + _STEPS * min(features.steps, 0.6)
        + _REPEATS * min(features.repeats, 0.25)
        + _LEAPS * min(features.leaps, 0.2)
        # Only an ostinato is punished: melodies repeat their bars too.
        + _VARIETY * min(features.variety / 0.2, 1.0)
        + _PITCHES * min(features.pitches / 2.5, 1.0)
    )


def program_bonus(program: int) -> float:
    """What the General MIDI program (0-127) adds to a track's score."""
    return next(bonus for last, bonus in _PROGRAMS if program <= last)


def name_bonus(name: str) -> float:
    """What the track's name adds to its score: that of the first group of words that occurs."""
    return next((bonus for words, bonus in _NAMES if words.search(name)), 0.0)


def find_melody(tracks: Sequence[Track], features: Sequence[TrackFeatures], use_names: bool) -> Melody | None:
    """The track with the best score, or None when none is plausible.

    Drums and tracks of fewer than MIN_MELODY_NOTES notes are no candidates.
    """
    scored = [
        (
            melody_score(found) + program_bonus(track.instrument) + (name_bonus(track.name) if use_names else 0.0),
            -track.number,
            track,
        )
        for track, found in zip(tracks, features)
        if not track.is_drums and len(track.notes) >= MIN_MELODY_NOTES
    ]
    scored.sort(key=lambda row: row[:2], reverse=True)
    if not scored or scored[0][0] < PLAUSIBLE_SCORE:
        return None
    margin = scored[0][0] - scored[1][0] if len(scored) > 1 else math.inf
    return Melody(scored[0][2], scored[0][0], margin)
