"""Token lines as arrays of notes: read byte by byte with numpy, a hundred times faster than by token."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from data_prep.tokens.vocabulary import MAX_DURATION_ID, MAX_PITCH_ID

_SPACE, _DASH, _ZERO = ord(" "), ord("-"), ord("0")
_LONGEST_TOKEN = 5  # a letter, a dash and at most three digits
_BATCH_CHARACTERS = 4_000_000  # some 200,000 notes, 200 MB
NOTE_CODES = 1000 * 1000 * 256 * 128  # ids have three digits at most
_WHITE = bytes.maketrans(b"\t\n\r\v\f", b"     ")


@dataclass(frozen=True)
class NoteTable:
    """The notes of several pieces; bars are numbered through all of them from 0.

    ``notes``: int64 [N, 5], columns bar, instrument (128 drums), onset in the bar, pitch id, duration id.
    Onsets count twelfths of a quarter note; ids are those of ``data_prep.tokens.vocabulary``.
    ``bar_pieces``: int64 [bars], the piece of each bar. ``pieces`` counts the pieces, those without bars
    too, ``tokens`` the tokens of them all.
    """

    notes: np.ndarray
    bar_pieces: np.ndarray
    pieces: int
    tokens: int

    def notes_of(self, instrument: int | None) -> np.ndarray:
        """The notes of ``instrument``; None: of all."""
        return self.notes if instrument is None else self.notes[self.notes[:, 1] == instrument]


def note_codes(notes: np.ndarray) -> np.ndarray:
    """int64 [N], below NOTE_CODES: equal for notes equal in instrument, onset, pitch and duration."""
    return ((notes[:, 1] * 1000 + notes[:, 2]) * 256 + notes[:, 3]) * 128 + notes[:, 4]


def batches(lines: Iterable[str]) -> Iterator[list[str]]:
    """``lines`` in lists of some million characters, so that the tables of long corpora stay small."""
    batch: list[str] = []
    characters = 0
    for line in lines:
        batch.append(line)
        characters += len(line)
        if characters >= _BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def note_table(lines: Iterable[str]) -> NoteTable:
    """The notes of token lines, one piece a line, read as leniently as ``data_prep.tokens.decode`` does.

    What is no token is skipped, and so is a note that is not spelled ``p d v`` in a row. Onset 0 holds at
    the start of a bar, the instrument is carried over bars from 0 at the start of a piece. A bar that the
    end of the line leaves open counts when it holds a note.
    """
    encoded = [line.encode("ascii", "replace").translate(_WHITE) for line in lines]
    families, values, pieces = _tokens(encoded)
    is_pitch = families[:-2] == ord("p")
    spelled = is_pitch & (families[1:-1] == ord("d")) & (families[2:] == ord("v"))
    spelled &= (pieces[:-2] == pieces[2:]) & (values[:-2] <= MAX_PITCH_ID)
    pitches = np.flatnonzero(spelled)

    # Bars are counted within the piece first, because a piece may end with or without an open bar.
    ends = families == ord("b")
    ended = np.concatenate([[0], np.cumsum(ends)])
    first_tokens = np.searchsorted(pieces, np.arange(len(encoded)))
    last_tokens = np.searchsorted(pieces, np.arange(len(encoded)), side="right")
    open_bars = np.zeros(len(encoded), dtype=np.int64)
    last_ends = latest(ends)
    bar_starts = np.maximum(last_ends, first_tokens[pieces] - 1) if len(pieces) else last_ends
    final = bar_starts[last_tokens[pieces[pitches]] - 1] < pitches  # in a bar that nothing ends
    open_bars[pieces[pitches[final]]] = 1
    bars = ended[last_tokens] - ended[first_tokens] + open_bars
    shifts = np.cumsum(open_bars) - open_bars

    onsets = _carried(families == ord("o"), values, bar_starts, pitches)
    instruments = _carried(families == ord("i"), values, first_tokens[pieces] - 1, pitches)
    notes = np.column_stack(
        [
            ended[pitches] + shifts[pieces[pitches]],
            instruments,
            onsets,
            values[pitches],
            # Ids 0 and 1 both sound one position, ids past the last cell sound like it.
            np.clip(values[pitches + 1], 1, MAX_DURATION_ID),
        ]
    )
    return NoteTable(notes.astype(np.int64), np.repeat(np.arange(len(encoded)), bars), len(encoded), len(families))


def _tokens(lines: list[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Families (uint8 letters), ids (int32) and pieces (int64) of all tokens that are spelled right."""
    text = np.frombuffer(b" ".join([*lines, b""]) or b" ", dtype=np.uint8)
    spaces = np.flatnonzero(text == _SPACE)
    starts = np.concatenate([[0], spaces[:-1] + 1]) if len(spaces) else np.zeros(0, dtype=np.int64)
    lengths = spaces - starts
    starts, lengths = starts[lengths > 0], lengths[lengths > 0]
    right = (lengths >= 3) & (lengths <= _LONGEST_TOKEN)
    starts, lengths = starts[right], lengths[right]
    values = np.zeros(len(starts), dtype=np.int32)
    right = text[starts + 1] == _DASH
    for index in range(2, _LONGEST_TOKEN):
        present = lengths > index
        # Past the end of a token its last character is read again and not used.
        digits = text[starts + np.minimum(index, lengths - 1)].astype(np.int32) - _ZERO
        right &= (digits >= 0) & (digits <= 9)
        values = np.where(present, 10 * values + digits, values)
    line_ends = np.cumsum([len(line) + 1 for line in lines])
    starts = starts[right]
    pieces = np.searchsorted(line_ends, starts, side="right")
    return text[starts], values[right], pieces


def latest(marked: np.ndarray) -> np.ndarray:
    """int64: for each token the index of the latest marked one before or at it, -1 when there is none."""
    return np.maximum.accumulate(np.where(marked, np.arange(len(marked)), -1))


def _carried(marked: np.ndarray, values: np.ndarray, since: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """At ``indices`` the value of the latest marked token after ``since``, 0 when there is none."""
    found = latest(marked)[indices]
    return np.where(found > since[indices], values[np.maximum(found, 0)], 0)
