import math
import random

import numpy as np
import pytest

from data_prep.similarity.bars import similarity_error, similarity_of_lines
from data_prep.tokens.vocabulary import GENERAL, SIX_TRACK
from evaluation.bootstrap import Bootstrap
from evaluation.self_similarity import draw_self_similarity, main, self_similarity
from evaluation.similarity import measure_errors, peak_heights, tracks_of


def melody(form):
    """A piece with one note a bar, the same for the same letter; a dot is an empty bar."""
    return " ".join(
        "t-30 b-1" if letter == "." else f"t-30 o-0 i-80 p-{ord(letter) - 30} d-6 v-20 b-1" for letter in form
    )


def similarity(*forms):
    return similarity_of_lines([melody(form) for form in forms])["melody"]


def test_error_of_known_forms():
    training, same, other = similarity("ababab", "cdcdcd"), similarity("efefef"), similarity("abcdef")
    found = measure_errors(same, other, training, Bootstrap())
    assert found.generated.value == 0  # L = 0, 1, 0, 1, 0 in both
    assert found.test.value == pytest.approx(2 / 5)
    assert (found.chance.value, found.chance.low, found.chance.high) == (0, 0, 0)


def test_error_is_that_of_the_curves_and_lies_in_its_interval():
    chance = random.Random(1)
    lines = [melody(chance.choices("abcd", k=12)) for _ in range(40)]
    found = {
        track: [similarity_of_lines(lines[a:b], [track])[track] for a, b in ((0, 10), (10, 25), (25, 40))]
        for track in ("melody", "all")
    }
    for generated, test, training in found.values():
        errors = measure_errors(generated, test, training, Bootstrap(replicates=200))
        assert errors.generated.value == similarity_error(generated.curve(), training.curve())
        assert errors.test.value == similarity_error(test.curve(), training.curve())
        assert 0 <= errors.generated.low <= errors.generated.value
        assert 0 < errors.chance.low < errors.chance.value < errors.chance.high


def test_a_silent_track_has_no_error():
    found = measure_errors(similarity("...."), similarity("abab"), similarity("abab"), Bootstrap(replicates=10))
    assert math.isnan(found.generated.value)


def test_peaks_by_hand():
    # L_t is 1 at 4, 8, 16 and all other multiples of 4, else 0
    heights = peak_heights(similarity("abcd" * 5, "efgh" * 6), Bootstrap(replicates=20))
    assert list(heights) == [4, 8, 16]
    assert {(height.value, height.low, height.high) for height in heights.values()} == {(1, 1, 1)}
    # 4, 8 and 16 each stand beside a multiple of 3
    heights = peak_heights(similarity("abc" * 7), Bootstrap())
    assert [height.value for height in heights.values()] == [-1, -1, -1]
    assert [height.value for height in peak_heights(similarity("aaaa" * 5), Bootstrap()).values()] == [0, 0, 0]


def test_a_peak_is_the_height_over_the_higher_neighbour():
    found = similarity_of_lines([melody(random.Random(2).choices("ab", k=30))])["melody"]
    curve = found.curve()
    for t, height in peak_heights(found, Bootstrap()).items():
        assert height.value == pytest.approx(curve[t - 1] - max(curve[t - 2], curve[t]))


def test_pieces_too_short_for_a_distance_have_no_peak_there():
    heights = peak_heights(similarity("abcda"), Bootstrap())  # no two bars lie 5 apart
    assert all(math.isnan(height.value) for height in heights.values())
    assert all(math.isnan(height.value) for height in peak_heights(similarity(), Bootstrap()).values())


def test_the_papers_track_comes_first():
    assert tracks_of(SIX_TRACK)[0] == "melody"
    assert tracks_of(GENERAL) == ("all", "drums")


def test_matrix_by_hand():
    first, second = "t-30 o-0 i-80 p-60 d-6 v-20 o-6 i-0 p-50 d-6 v-20 b-1", "t-30 o-0 i-80 p-60 d-6 v-9 b-1"
    line = f"{first} {second} t-30 b-1"
    np.testing.assert_allclose(self_similarity(line), [[1, 0.5, 0], [0.5, 1, 0], [0, 0, math.nan]])
    np.testing.assert_allclose(self_similarity(line, 80), [[1, 1, 0], [1, 1, 0], [0, 0, math.nan]])


def test_diagonals_of_the_matrix_are_the_similarity_of_bars(write_piece):
    line = " ".join(write_piece(SIX_TRACK, 30, "matrix"))
    matrix = self_similarity(line)
    curve = similarity_of_lines([line], ["all"])["all"].curve()
    for distance in range(1, 30):
        diagonal = np.diagonal(matrix, distance)
        if np.isnan(diagonal).all():
            assert np.isnan(curve[distance - 1])
        else:
            assert np.nanmean(diagonal) == pytest.approx(curve[distance - 1])


def test_matrices_of_any_size_are_drawn(tmp_path):
    rows = [
        [("one", self_similarity(melody("abab"))), ("silent", self_similarity(melody("..")))],
        [("none", self_similarity(""))],
    ]
    draw_self_similarity(rows, tmp_path / "drawn.png")
    assert (tmp_path / "drawn.png").stat().st_size > 1000


def picture_width(path):
    return int.from_bytes(path.read_bytes()[16:20], "big")


def test_the_command_draws_the_pieces_of_a_file(tmp_path):
    (tmp_path / "pieces.txt").write_text("".join(f"H-{n}\t-1.0\t{melody('abab')}\n" for n in range(4)))
    assert main([str(tmp_path / "pieces.txt"), str(tmp_path / "all.png")]) == 0
    assert main([str(tmp_path / "pieces.txt"), str(tmp_path / "one.png"), "--piece", "3"]) == 0
    # four beside each other, or one with its melody at its side
    assert picture_width(tmp_path / "all.png") > 1.7 * picture_width(tmp_path / "one.png")


def test_a_piece_that_is_not_there_is_told(tmp_path, caplog):
    (tmp_path / "pieces.txt").write_text(f"{melody('abab')}\n")
    assert main([str(tmp_path / "pieces.txt"), str(tmp_path / "out.png"), "--piece", "2"]) == 1
    assert "holds 1 pieces; there is no number 2." in caplog.text
    assert not (tmp_path / "out.png").exists()
