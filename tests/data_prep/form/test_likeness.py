import numpy as np
import pytest

from data_prep.form import likeness
from data_prep.form.bar_lines import _novelty, both_ways
from data_prep.form.likeness import Piece, likeness_of
from data_prep.tokens.vocabulary import duration_of

MELODY, DRUMS = 80, 128


def random_notes(bars, count, seed=3):
    chance = np.random.default_rng(seed)
    columns = [chance.integers(0, bars, count), chance.choice([MELODY, 0, 48, DRUMS], count)]
    columns += [chance.integers(0, high, count) for high in (48, 128, 40, 32)]
    notes = np.column_stack(columns)
    notes[:, 3] = 60 + notes[:, 3] % 5
    return notes


def plain(notes, bars):
    """R and A by their definition, note by note: float [bars, bars] each."""

    def sets(chosen, key):
        return [{key(row) for row in chosen if row[0] == bar} for bar in range(bars)]

    def sounding(chosen, width):
        cells = np.zeros((bars * 48 // width, 12))
        for bar, _, onset, pitch, duration, _ in chosen:
            start = 48 * bar + onset
            cells[start // width : -(-(start + duration_of(duration)) // width), pitch % 12] += 1
        return cells.reshape(bars, -1)

    def jaccard(a, b):
        return len(a & b) / len(a | b) if a | b else 0

    def cosine(a, b):
        lengths = np.linalg.norm(a) * np.linalg.norm(b)
        return a @ b / lengths if lengths else 0

    rows = [tuple(row) for row in notes.tolist()]
    melody = [row for row in rows if row[1] == MELODY]
    rest = [row for row in rows if row[1] not in (MELODY, DRUMS)]
    lead_sets, lead_sounds = sets(melody, lambda row: (row[2] // 3, row[3])), sounding(melody, 3)
    rest_sets, chroma = sets(rest, lambda row: row[1:4]), sounding(rest, 12)
    drum_sets = sets([row for row in rows if row[1] == DRUMS], lambda row: row[1:4])
    overall, behind = np.zeros((2, bars, bars))
    for s in range(bars):
        for t in range(bars):
            chords = rest_sets[s] or rest_sets[t]
            behind[s, t] = (jaccard(rest_sets[s], rest_sets[t]) + cosine(chroma[s], chroma[t])) / 2
            behind[s, t] = behind[s, t] if chords else jaccard(drum_sets[s], drum_sets[t])
            lead = (jaccard(lead_sets[s], lead_sets[t]) + cosine(lead_sounds[s], lead_sounds[t])) / 2
            sung = 0.7 if lead_sets[s] or lead_sets[t] else 0
            played = 0.3 if chords or drum_sets[s] or drum_sets[t] else 0
            overall[s, t] = (sung * lead + played * behind[s, t]) / (sung + played or 1)
    return overall, behind


@pytest.mark.parametrize(("block", "lags"), [(512, 256), (5, 256), (7, 9)])
def test_likeness_by_its_definition(block, lags, monkeypatch):
    monkeypatch.setattr(likeness, "_BLOCK", block)
    monkeypatch.setattr(likeness, "MAX_LAG", lags)
    bars = 19
    notes = random_notes(bars, 150)
    silent = {MELODY: (2, 3, 8, 9), 0: (8, 9, 10, 11), 48: (8, 9, 10, 11), DRUMS: (9, 10, 14)}  # bars
    notes = notes[[bar not in silent[instrument] for bar, instrument in notes[:, :2].tolist()]]
    found = likeness_of(Piece.of(notes, bars, MELODY))
    for name, pairs in zip(("all", "accompaniment"), plain(notes, bars)):
        by_lag = getattr(found, name)
        assert by_lag.shape == (min(lags, bars - 1), bars)
        both = both_ways(by_lag)
        for lag in range(1, len(by_lag) + 1):
            expected = [pairs[bar, bar - lag] if bar >= lag else 0 for bar in range(bars)]
            assert np.allclose(by_lag[lag - 1], expected, atol=1e-6)
            later = [pairs[bar, bar + lag] if bar + lag < bars else 0 for bar in range(bars)]
            assert np.allclose(both[len(by_lag) + lag - 1], later, atol=1e-6)


def test_the_highest_notes_are_the_melody_that_none_has():
    rows = [
        (0, 0, 0, 60, 6, 9),
        (0, 48, 0, 67, 6, 9),
        (0, DRUMS, 0, 170, 6, 9),
        (0, 0, 6, 50, 6, 9),
        (1, 0, 6, 52, 6, 9),
    ]
    piece = Piece.of(np.array(rows), 2, None)
    assert piece.melody.tolist() == [list(rows[1]), list(rows[3]), list(rows[4])]
    assert piece.accompaniment.tolist() == [list(rows[0]), list(rows[2])]
    assert piece.bar_length == 12


@pytest.mark.parametrize("width", [2, 4, 8])
def test_novelty_by_its_definition(width):
    bars = 21
    pairs = np.random.default_rng(width).random((bars, bars))
    pairs = (pairs + pairs.T) / 2
    np.fill_diagonal(pairs, 1)
    by_lag = np.zeros((bars - 1, bars))
    for lag in range(1, bars):
        by_lag[lag - 1, lag:] = pairs[np.arange(lag, bars), np.arange(bars - lag)]
    expected = [0.0]
    for line in range(1, bars):
        reach = min(width, line, bars - line)
        before, after = slice(line - reach, line), slice(line, line + reach)
        within = (pairs[before, before].mean() + pairs[after, after].mean()) / 2
        expected.append(within - pairs[before, after].mean())
    assert np.allclose(_novelty(by_lag, width), expected)
