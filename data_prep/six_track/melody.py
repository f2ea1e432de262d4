"""Which track carries the melody: a score with written-down weights."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data_prep.six_track.tracks import Track, TrackFeatures
from data_prep.tokens.vocabulary import POSITIONS_PER_WHOLE

# A song whose best track scores less has no melody that could be told from its accompaniment.
PLAUSIBLE_SCORE = 6.0
MIN_MELODY_NOTES = 24

# A track joins the melody when its score is this close to the best and it shares at most this part of its
# bars with the tracks chosen before it.
_RELAY_MARGIN = 2.0
_RELAY_OVERLAP = 0.1

# What a feature of ``TrackFeatures`` adds, after the cap in ``melody_score``. The weights were fitted
# (conditional logit, then rounded and evened out by hand) on every second song of POP909 with machine-made
# accompaniment, its track names and programs hidden.
_MONOPHONY = 2.5
_PER_DOUBLING_OF_OVERLAP = -1.5
_COVERAGE = 2.0
_PER_HALVING_OF_DENSITY = -0.4
_PER_DOUBLING_OF_DENSITY = -1.2  # arpeggios
_SQUARED_OCTAVES_FROM_USUAL_PITCH = -0.6
_OCTAVES_ABOVE = 0.5
_LOUDNESS = 1.0  # for 20 steps of velocity above the others
_STEPS = 4.0
_REPEATS = 5.0
_MOSTLY_REPEATS = -6.0  # times the share beyond a half: a pulse on one pitch
_LEAPS = -10.0
_VARIETY = 1.0
_PITCHES = 1.5
_RHYTHM = 1.5
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
class Candidate:
    """A track and its score as a melody."""

    track: Track
    score: float


@dataclass(frozen=True)
class Melody:
    """The tracks that carry the melody, none when no track is plausible.

    More than one where instruments take turns. ``score`` is that of the best track, ``margin`` its lead
    over the next candidate (infinite without one).
    """

    tracks: tuple[Track, ...]
    score: float
    margin: float


def melody_score(features: TrackFeatures) -> float:
    """How much a track sounds like a melody: one voice, singable steps, high, loud and often there."""
    doublings = math.log2(max(1.0, min(features.density, 32.0))) - _USUAL_DENSITY
    octaves = (features.pitch - _USUAL_PITCH) / 12
    return (
        _MONOPHONY * features.monophony
        + _PER_DOUBLING_OF_OVERLAP * math.log2(max(1.0, min(features.overlap, 8.0)))
        + _COVERAGE * features.coverage
        + (_PER_DOUBLING_OF_DENSITY if doublings > 0 else -_PER_HALVING_OF_DENSITY) * doublings
        + _SQUARED_OCTAVES_FROM_USUAL_PITCH * octaves**2
        + _OCTAVES_ABOVE * max(-2.0, min(features.above / 12, 2.0))
        + _LOUDNESS * max(-1.0, min(features.loudness / 20, 1.0))
        + _STEPS * min(features.steps, 0.6)
        + _REPEATS * min(features.repeats, 0.25)
        + _MOSTLY_REPEATS * max(0.0, features.repeats - 0.5)
        + _LEAPS * min(features.leaps, 0.2)
        # Only an ostinato is punished: melodies repeat their bars and rhythms too.
        + _VARIETY * min(features.variety / 0.2, 1.0)
        + _PITCHES * min(features.pitches / 2.5, 1.0)
        + _RHYTHM * min(features.rhythm, 1.0)
    )


def program_bonus(program: int) -> float:
    """What the General MIDI program (0-127) adds to a track's score."""
    return next(bonus for last, bonus in _PROGRAMS if program <= last)


def name_bonus(name: str) -> float:
    """What the track's name adds to its score: that of the first group of words that occurs."""
    return next((bonus for words, bonus in _NAMES if words.search(name)), 0.0)


def find_melody(tracks: Sequence[Track], features: Sequence[TrackFeatures], use_names: bool) -> Melody:
    """Score the tracks and choose; see ``Melody``.

    Drums and tracks of fewer than MIN_MELODY_NOTES notes are no candidates.
    """
    scored = [
        Candidate(track, score)
        for track, found in zip(tracks, features)
        if not track.is_drums and len(track.notes) >= MIN_MELODY_NOTES
        for score in [
            melody_score(found) + program_bonus(track.instrument) + (name_bonus(track.name) if use_names else 0.0)
        ]
    ]
    scored.sort(key=lambda candidate: (-candidate.score, candidate.track.number))
    if not scored or scored[0].score < PLAUSIBLE_SCORE:
        return Melody((), scored[0].score if scored else -math.inf, math.inf)
    margin = scored[0].score - scored[1].score if len(scored) > 1 else math.inf
    return Melody(_relay(scored), scored[0].score, margin)


def _relay(scored: Sequence[Candidate]) -> tuple[Track, ...]:
    """The best track, and others nearly as good that take over where those before them rest."""
    chosen = [scored[0].track]
    used = _bars(scored[0].track)
    for candidate in scored[1:]:
        if candidate.score < max(scored[0].score - _RELAY_MARGIN, PLAUSIBLE_SCORE):
            break
        bars = _bars(candidate.track)
        if len(bars & used) <= _RELAY_OVERLAP * len(bars):
            chosen.append(candidate.track)
            used |= bars
    return tuple(chosen)


def _bars(track: Track) -> set[int]:
    """The bars (whole notes) in which a note of the track begins."""
    return set((np.rint(track.notes[:, 0]) // POSITIONS_PER_WHOLE).astype(int).tolist())
