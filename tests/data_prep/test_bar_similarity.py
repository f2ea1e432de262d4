"""The statistic against its definition in Python sets, and against songs whose forms are written down."""

import random

import numpy as np
import pytest

from data_prep.bar_similarity import main
from data_prep.similarity.bars import TRACKS, similarity_error, similarity_of_lines
from data_prep.similarity.structure_bars import recommend, trade_off
from data_prep.tokens.decode import decode
from data_prep.tokens.encode import encode
from data_prep.tokens.song import song_of
from examples.make_songs import compose_song, to_midi


def bars_of_line(line, instrument):
    """The note sets of a piece's bars, by a token-by-token reading."""
    bars, notes, onset, program = [], set(), 0, 0
    pitch = duration = None
    for token in line.split():
        family, number = token.split("-")
        if family == "b":
            bars.append(notes)
            notes, onset = set(), 0
        elif family == "o":
            onset = int(number)
        elif family == "i":
            program = int(number)
        elif family == "p":
            pitch = int(number)
        elif family == "d":
            duration = max(1, int(number))
        elif family == "v" and instrument in (None, program):
            notes.add((program, onset, pitch, duration))
    return bars


def brute_force(lines, instrument, max_distance):
    """(pooled L_t, mean over pieces of their L_t) with sets, pair by pair."""
    pooled, by_piece = [[] for _ in range(max_distance)], [[] for _ in range(max_distance)]
    for line in lines:
        bars = bars_of_line(line, instrument)
        for t in range(1, max_distance + 1):
            found = [len(a & b) / len(a | b) for a, b in zip(bars, bars[t:]) if a | b]
            pooled[t - 1] += found
            if found:
                by_piece[t - 1].append(sum(found) / len(found))
    mean = lambda values: sum(values) / len(values) if values else float("nan")  # noqa: E731
    return [mean(v) for v in pooled], [mean(v) for v in by_piece]


def random_line(rng, bars):
    tokens = []
    for _ in range(bars):
        tokens.append("t-30")
        for onset in sorted(rng.sample(range(48), rng.choice([0, 0, 1, 3]))):
            tokens.append(f"o-{onset % 5}")
            for program in rng.sample([80, 128, 43, 25, 0, 48], rng.randint(1, 3)):
                tokens.append(f"i-{program}")
                for _ in range(rng.randint(1, 2)):
                    tokens += [f"p-{rng.randint(60, 62)}", f"d-{rng.randint(0, 2)}", f"v-{rng.randint(0, 31)}"]
        tokens.append("b-1")
    return " ".join(tokens)


def song_lines(count=6):
    return [" ".join(encode(song_of(to_midi(compose_song(n, 1))), "six_track")) for n in range(1, count + 1)]


@pytest.mark.parametrize("track", TRACKS)
def test_the_definition_with_sets(track):
    rng = random.Random(3)
    lines = [random_line(rng, bars) for bars in (1, 2, 7, 0, 50, 3, 90)] + song_lines(3)
    pooled, per_piece = brute_force(lines, TRACKS[track], 40)
    similarity = similarity_of_lines(lines, [track])[track]
    np.testing.assert_allclose(similarity.curve(), pooled, rtol=1e-12)
    np.testing.assert_allclose(similarity.curve_per_piece(), per_piece, rtol=1e-12)


def test_by_hand():
    bar = "t-30 o-0 i-80 p-60 d-12 v-20 {}b-1"
    extra = "o-12 i-80 p-62 d-12 v-20 "
    line = " ".join([bar.format(""), bar.format(extra), "t-30 b-1", "t-30 b-1", bar.format("")])
    similarity = similarity_of_lines([line], ["melody"], 5)["melody"]
    # t = 1: {a} {a b} -> 1/2, {a b} {} -> 0, two empty bars do not count, {} {a} -> 0
    np.testing.assert_array_equal(similarity.pairs, [[3, 3, 2, 1, 0]])
    np.testing.assert_allclose(similarity.curve(), [1 / 6, 0, 1 / 4, 1, np.nan])


def test_velocity_does_not_count_and_octaves_do():
    line = "t-30 o-0 i-80 p-60 d-12 v-{} b-1 t-30 o-0 i-80 p-{} d-12 v-9 b-1"
    assert similarity_of_lines([line.format(3, 60)])["melody"].curve()[0] == 1
    assert similarity_of_lines([line.format(9, 72)])["melody"].curve()[0] == 0


@pytest.mark.parametrize("number", range(1, 24))
def test_forms_of_the_example_songs(number):
    """Two bars of the melody are equal just when ``same_as`` says so."""
    song = compose_song(number, 1)
    line = " ".join(encode(song_of(to_midi(song)), "six_track"))
    form = list(song.same_as)
    similarity = similarity_of_lines([line])["melody"]
    bars = bars_of_line(line, 80)
    assert len(bars) == len(form)
    for t in range(1, 41):
        exact = [a == b for a, b in zip(form, form[t:]) if a is not None and b is not None]
        pairs = [(a, b) for a, b in zip(form, form[t:]) if a is not None or b is not None]
        assert similarity.pairs[0, t - 1] == len(pairs)
        assert similarity.sums[0, t - 1] >= sum(exact)
        partial = sum(len(x & y) / len(x | y) for x, y in zip(bars, bars[t:]) if x and y and x != y)
        assert similarity.sums[0, t - 1] == pytest.approx(sum(exact) + partial)


def test_a_form_of_literal_repeats_is_recovered_exactly():
    """Bars that share no note unless they are the same: L_t is then the share of equal pairs."""
    form = [1, 2, 3, 4, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4] * 3
    line = " ".join(f"t-30 o-0 i-80 p-{40 + bar} d-12 v-20 b-1" for bar in form)
    curve = similarity_of_lines([line])["melody"].curve()
    expected = [np.mean([a == b for a, b in zip(form, form[t:])]) for t in range(1, 41)]
    np.testing.assert_allclose(curve, expected)


def test_similarity_error():
    lines = song_lines(12)
    curve = similarity_of_lines(lines)["melody"].curve()
    assert similarity_error(curve, curve) == 0
    rng = random.Random(1)
    shuffled = []
    for line in lines:
        bars = line.split(" b-1")[:-1]
        rng.shuffle(bars)
        shuffled.append(" ".join(bar.strip() + " b-1" for bar in bars))
    halves = similarity_error(
        similarity_of_lines(lines[:6])["melody"].curve(), similarity_of_lines(lines[6:])["melody"].curve()
    )
    assert halves < similarity_error(similarity_of_lines(shuffled)["melody"].curve(), curve)
    assert similarity_error(np.array([0.5, np.nan, 0.1]), np.array([0.25, 0.3, np.nan])) == 0.25
    with pytest.raises(ValueError, match="no distance in common"):
        similarity_error(np.array([np.nan]), np.array([1.0]))
    with pytest.raises(ValueError, match="cannot be compared"):
        similarity_error(np.zeros(3), np.zeros(4))


def test_batches_do_not_change_anything(monkeypatch):
    lines = song_lines(5)
    whole = similarity_of_lines(lines, ["melody", "all"])
    monkeypatch.setattr("data_prep.tokens.note_table._BATCH_CHARACTERS", 1)
    apart = similarity_of_lines(lines, ["melody", "all"])
    for track in whole:
        np.testing.assert_array_equal(whole[track].sums, apart[track].sums)
        np.testing.assert_array_equal(whole[track].pairs, apart[track].pairs)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "b-1",
        "p-60 d-12",
        "t-30 o-0 i-80 p-60 d-12 v-3 b-1 nonsense \u00e9 p-1234 p-6x -- b-1 t-30 i-80 p-60 d-12 v-3",
        "t-30 o-4 i-80 p-60 d-12 v-3 b-1 t-30 p-62 d-12 v-3 b-1",
        "t-30 o-0 p-60 p-61 d-12 v-3 v-4 b-1 d-12 v-3 b-1 o-4 i-80 p-61 d-12 v-3",
    ],
)
def test_broken_lines_read_like_the_decoder(line):
    from data_prep.tokens.note_table import note_table

    table = note_table(["t-30 o-9 i-43 p-60 d-12 v-3", line])
    own = table.notes[table.bar_pieces[table.notes[:, 0]] == 1]
    found = sorted((i, 48 * (b - 1) + o, p) for b, i, o, p, _ in own.tolist())
    decoded = decode(line.split()).midi
    notes = sorted(
        (track.program, note.start // 40, note.pitch) for track in decoded.instruments for note in track.notes
    )
    assert found == notes


def test_the_command(tmp_path, capsys):
    tokens = tmp_path / "train.tokens"
    tokens.write_text("".join(line + "\n" for line in song_lines(8)))
    assert main([str(tokens), "--plot", str(tmp_path / "l.png")]) == 0
    shown = capsys.readouterr().out
    assert "8 pieces" in shown and "--structure-bars " in shown and "the paper's" in shown
    assert (tmp_path / "l.png").read_bytes().startswith(b"\x89PNG")
    assert main([str(tokens), "--track", "all", "--max-distance", "5", "--per-piece"]) == 0
    similarity = similarity_of_lines(song_lines(8), ["all"], 5)["all"]
    pooled, per_piece = (
        f"\n   5   {100 * curve[4]:7.2f} " for curve in (similarity.curve(), similarity.curve_per_piece())
    )
    shown = capsys.readouterr().out
    assert per_piece in shown and pooled not in shown


def test_nothing_to_compare_is_told(tmp_path, caplog):
    (tmp_path / "a.txt").write_text("t-30 o-0 i-0 p-60 d-12 v-3 b-1\n")
    assert main([str(tmp_path)]) == 1
    assert "--track all" in caplog.text


def test_what_structure_bars_win_and_cost():
    curve = np.array([0.1, 0.4, np.nan, 0.4])
    pairs = np.array([9, 8, 0, 6])
    assert recommend(curve, 2) == [2, 4]
    assert recommend(curve, 1) == [2]  # of equals the nearer
    assert recommend(curve, 8) == [1, 2, 4]
    choice = trade_off(curve, pairs, bars=10, tokens=500, distances=[2, 4])
    assert choice.mass == pytest.approx((3.2 + 2.4) / (0.9 + 3.2 + 2.4))
    assert (choice.bars, choice.keys) == (1.4, 70)
