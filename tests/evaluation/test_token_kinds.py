import numpy as np
import pytest

from data_prep.tokens.vocabulary import GENERAL, REPRESENTATIONS, SIX_TRACK
from evaluation.token_kinds import TokenKinds

WHOLE = 1_000_000


def named(representation, line, length=WHOLE):
    kinds = TokenKinds(representation)
    return {
        division: [kinds.names[division][place] for place in places]
        for division, places in kinds.kinds(line.split(), length).items()
    }


def test_six_tracks_by_hand():
    first = "t-30 o-0 i-80 p-60 d-6 v-20 i-128 p-164 d-6 v-20 b-1"
    again = "t-30 o-0 i-80 p-60 d-6 v-20 i-128 p-166 d-6 v-9 b-1"  # the same melody, another drum
    found = named(SIX_TRACK, f"{first} {again} t-30 b-1")
    families = ["tempo", "onset", *(["instrument", "pitch", "duration", "velocity"] * 2), "bar end"]
    assert found["family"] == [*families, *families, "tempo", "bar end", "end of piece"]
    tracks = ["shared"] * 2 + ["melody"] * 4 + ["drums"] * 4 + ["shared"]
    assert found["track"] == [*tracks, *tracks, *["shared"] * 3]
    assert found["bar"] == ["new"] * 22 + ["empty"] * 2 + ["outside"]  # 1 of 3 notes is in both bars
    own = ["shared"] * 2 + ["melody, {}"] * 4 + ["drums, new"] * 4 + ["shared"]
    expected = [kind.format(bar) for bar in ("new", "repeats") for kind in own]
    assert found["track_bar"] == [*expected, *["shared"] * 3]


def test_general_knows_the_drums_and_the_rest():
    bar = "s-9 o-0 t-30 i-40 p-60 d-6 v-20 o-12 t-30 i-128 p-164 d-6 v-20 b-1"
    found = named(GENERAL, f"{bar} {bar}")
    notes = ["other instruments"] * 4, ["drums"] * 4
    assert found["track"] == [*["shared"] * 3, *notes[0], *["shared"] * 2, *notes[1], "shared"] * 2 + ["shared"]
    assert found["family"][:4] == ["metre", "onset", "tempo", "instrument"]
    assert found["bar"] == ["new"] * 14 + ["repeats"] * 14 + ["outside"]
    assert "track_bar" not in found


def test_what_is_in_no_piece_is_other():
    found = named(SIX_TRACK, "t-30 u-3 o-0 i-80 p-60 d-6 v-20")  # not even the end of the bar
    assert found["family"][:2] == ["tempo", "other"]
    assert found["bar"] == ["new"] * 7 + ["outside"]


@pytest.mark.parametrize("name", REPRESENTATIONS)
@pytest.mark.parametrize("length", [1, 50, 333, WHOLE])
def test_a_cut_piece_has_the_kinds_of_the_whole(name, length, write_piece):
    kinds = TokenKinds(REPRESENTATIONS[name])
    tokens = [token for _ in range(3) for token in write_piece(REPRESENTATIONS[name], 60, "cut")]
    assert 333 < len(tokens) < WHOLE
    cut, whole = kinds.kinds(tokens, length), kinds.kinds(tokens, WHOLE)
    for division, places in whole.items():
        assert len(places) == len(tokens) + 1
        np.testing.assert_array_equal(cut[division], places[:length])
        assert len(set(kinds.names[division])) == len(kinds.names[division]) > places.max()


def test_a_cut_inside_a_bar_leaves_the_bar_whole():
    first, other = (f"t-30 o-0 i-80 p-60 d-6 v-20 o-12 i-80 p-{pitch} d-6 v-20 b-1" for pitch in (60, 61))
    assert named(SIX_TRACK, f"{first} {first}", 17)["bar"] == ["new"] * 12 + ["repeats"] * 5
    assert named(SIX_TRACK, f"{first} {other}", 17)["bar"] == ["new"] * 17
