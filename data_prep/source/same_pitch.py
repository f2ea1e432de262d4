"""Written notes beside those of the song on one track: where a pitch sounds twice, the song's notes keep their ends."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from itertools import accumulate

from miditoolkit import Note


def fit_beside(own: Iterable[Note], written: Iterable[Note]) -> list[Note]:
    """``written`` with other ends where a note of its pitch sounds too, so that ``own`` can be read back from a file.

    A note-off ends the oldest note of its pitch. So a written note ends where the next of ``own`` begins, and one that
    begins under another note does not end before that. Of written notes that begin together on one pitch the longest
    stays; one that begins with a note of ``own`` is left out.
    """
    theirs = _by_pitch(own)
    fitted = []
    for pitch, notes in _by_pitch(written).items():
        others = theirs.get(pitch, [])
        starts = [note.start for note in others]
        latest_ends = list(accumulate((note.end for note in others), max, initial=0))
        placed: list[Note] = []
        for note in notes:
            following = bisect_right(starts, note.start)
            if following and starts[following - 1] == note.start or placed and placed[-1].start == note.start:
                continue
            end = min([note.end, *starts[following : following + 1]])
            covering = max(latest_ends[following], placed[-1].end if placed else 0)
            placed.append(Note(note.velocity, pitch, note.start, max(end, covering)))
        fitted += placed
    return fitted


def _by_pitch(notes: Iterable[Note]) -> dict[int, list[Note]]:
    """Notes of each pitch, by start, the longest of equal starts first."""
    found: dict[int, list[Note]] = defaultdict(list)
    for note in sorted(notes, key=lambda note: (note.start, -note.end)):
        found[note.pitch].append(note)
    return found
