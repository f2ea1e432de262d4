"""The paper's rules for a song fit for training, each with its name, in order (paper, appendix on data)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from data_prep.six_track.grid import GridFit
from data_prep.six_track.melody import MIN_MELODY_NOTES, PLAUSIBLE_SCORE, Melody
from data_prep.tokens.encode import Bars
from data_prep.tokens.song import Song
from data_prep.tokens.vocabulary import DEFAULT_METRE, DEFAULT_TEMPO_BPM, DRUMS, METRES, POSITIONS_PER_QUARTER

MIN_TEMPO_BPM, MAX_TEMPO_BPM = 24, 200
MIN_PITCH, MAX_PITCH = 21, 108  # the keys of a piano
MAX_NOTE_BEATS = 16
MAX_EMPTY_BARS = 3
MIN_INSTRUMENTS = 2
# ``GridFit.concentration`` of a song that keeps to its beat. Songs played or written to the beat, swung
# and humanised ones too, reach 0.5 and more; performances that ignore it stay below 0.15.
MIN_CONCENTRATION = 0.3


@dataclass(frozen=True)
class Candidate:
    """A song on the grid with what was measured on the way, ready to be judged.

    ``bars`` begin with the first that holds a note, at position 0. ``melody`` is None when none was looked for.
    """

    song: Song
    bars: Bars
    grid: GridFit
    melody: Melody | None

    def pitched(self) -> np.ndarray:
        """The rows of ``song.notes`` that are not drums."""
        return self.song.notes[self.song.notes[:, 4] != DRUMS]


# A rule says what is wrong, in the words of a sentence's end, or nothing.
Rule = Callable[[Candidate], "str | None"]


def _metre(candidate: Candidate) -> str | None:
    ids = candidate.bars.metres
    other = next((n for n, metre in enumerate(ids) if METRES[metre] != DEFAULT_METRE), None)
    if other is None:
        return None
    numerator, denominator = METRES[ids[other]]
    return f"not in 4/4: bar {other + 1} is in {numerator}/{denominator}"


def _melody(candidate: Candidate) -> str | None:
    melody = candidate.melody
    if melody is None or melody.tracks:
        return None
    if melody.score == -math.inf:
        return f"no melody: no pitched track has {MIN_MELODY_NOTES} notes"
    return f"no melody: the best track scores {melody.score:.1f}, at least {PLAUSIBLE_SCORE} wanted"


def _instruments(candidate: Candidate) -> str | None:
    count = len(np.unique(candidate.song.notes[:, 4]))
    if count < MIN_INSTRUMENTS:
        return f"too few instruments: {count}, at least {MIN_INSTRUMENTS} wanted"
    return None


def _grid(candidate: Candidate) -> str | None:
    fit = candidate.grid
    if fit.concentration >= MIN_CONCENTRATION:
        return None
    return (
        f"off the grid: onsets lie {fit.deviation:.2f} twelfths of a quarter ({fit.deviation_ms:.0f} ms) from "
        f"the beat's subdivisions on average, by chance it would be {fit.chance:.2f} "
        f"(concentration {fit.concentration:.2f}, at least {MIN_CONCENTRATION} wanted)"
    )


def _tempo(candidate: Candidate) -> str | None:
    tempos = [bpm for _, bpm in candidate.song.tempos]
    if not tempos or candidate.song.tempos[0][0] > 0:
        tempos.append(DEFAULT_TEMPO_BPM)
    # A tempo is stored in microseconds a quarter, so 200 may come back as 200.0003.
    outside = [bpm for bpm in tempos if not MIN_TEMPO_BPM - 0.01 <= bpm <= MAX_TEMPO_BPM + 0.01]
    if not outside:
        return None
    return f"tempo outside {MIN_TEMPO_BPM}-{MAX_TEMPO_BPM}: {outside[0]:.4g} beats per minute"


def _pitch(candidate: Candidate) -> str | None:
    pitches = candidate.pitched()[:, 2]
    outside = pitches[(pitches < MIN_PITCH) | (pitches > MAX_PITCH)]
    if not len(outside):
        return None
    share = f"{len(outside)} of {len(pitches)} notes"
    return f"pitches outside {MIN_PITCH}-{MAX_PITCH}: {share}, down to {pitches.min()}, up to {pitches.max()}"


def _length(candidate: Candidate) -> str | None:
    pitched = candidate.pitched()  # the length of a drum note means nothing
    longest = pitched[:, 1].max(initial=0)
    if longest <= MAX_NOTE_BEATS * POSITIONS_PER_QUARTER:
        return None
    return f"too long a note: {longest / POSITIONS_PER_QUARTER:.4g} beats, at most {MAX_NOTE_BEATS}"


def _empty_bars(candidate: Candidate) -> str | None:
    used = np.searchsorted(candidate.bars.starts, candidate.song.notes[:, 0], side="right")
    empty = len(candidate.bars.starts) - len(np.unique(used))
    if empty <= MAX_EMPTY_BARS:
        return None
    return f"too many empty bars: no note begins in {empty}, at most {MAX_EMPTY_BARS}"


def _variety(candidate: Candidate) -> str | None:
    pitched = candidate.pitched()
    if len(pitched) and len(np.unique(pitched[:, 2])) == 1:
        return f"no variety: all pitches are {pitched[0, 2]}"
    if len(pitched) and len(np.unique(pitched[:, 1])) == 1:
        return f"no variety: all notes last {pitched[0, 1] / POSITIONS_PER_QUARTER:.4g} beats"
    return None


# These two are about six tracks in 4/4, the others about quality in any form.
FORM_RULES: Mapping[str, Rule] = {"metre": _metre, "melody": _melody, "instruments": _instruments}
QUALITY_RULES: Mapping[str, Rule] = {
    "grid": _grid,
    "tempo": _tempo,
    "pitch": _pitch,
    "length": _length,
    "empty-bars": _empty_bars,
    "variety": _variety,
}
# Not a rule of one song: of several alike the first is kept.
DUPLICATE_RULE = "duplicate"
RULES: Mapping[str, Rule] = {**FORM_RULES, **QUALITY_RULES}

RULE_HELP: Mapping[str, str] = {
    "metre": "every bar is in 4/4",
    "melody": "one track is a plausible melody",
    "instruments": f"at least {MIN_INSTRUMENTS} of the six tracks are used",
    "grid": "onsets keep to the beat of the tempo map, but for a constant offset, which is removed",
    "tempo": f"tempos lie within {MIN_TEMPO_BPM}-{MAX_TEMPO_BPM} beats per minute",
    "pitch": f"pitches lie within {MIN_PITCH}-{MAX_PITCH}",
    "length": f"no note is longer than {MAX_NOTE_BEATS} beats",
    "empty-bars": f"at most {MAX_EMPTY_BARS} bars between the first and the last note are empty",
    "variety": "neither all pitches nor all durations are equal",
    DUPLICATE_RULE: "no earlier song has the same length and numbers of bars, notes, positions and instruments",
}


def first_broken(candidate: Candidate, rules: Mapping[str, Rule]) -> tuple[str, str] | None:
    """The first rule of ``rules`` that the song breaks, and what is wrong; None when it breaks none."""
    for name, rule in rules.items():
        if fault := rule(candidate):
            return name, fault
    return None


def fingerprint(candidate: Candidate) -> str:
    """What two copies of one song have in common, after the paper.

    Length in positions and the numbers of bars, notes, onset positions and instruments, with colons.
    """
    notes = candidate.song.notes
    length = int((notes[:, 0] + notes[:, 1]).max())
    counts = (len(candidate.bars.starts), len(notes), len(np.unique(notes[:, 0])), len(np.unique(notes[:, 4])))
    return ":".join(map(str, (length, *counts)))
