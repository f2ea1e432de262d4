import math

import numpy as np
import pytest

from data_prep.tokens.vocabulary import SIX_TRACK
from evaluation.bootstrap import Bootstrap
from evaluation.losses_by_kind import losses_by_kind
from evaluation.perplexity import Losses, load_model, measure_losses

BAR = "t-30 o-0 i-80 p-60 d-6 v-20 b-1"


def by_hand(*token_bits):
    token_bits = [np.array(bits, dtype=float) for bits in token_bits]
    sums = np.array([[bits.sum()] for bits in token_bits])
    return Losses((15,), sums, np.array([[len(bits)] for bits in token_bits]), token_bits)


def test_means_by_hand():
    losses = by_hand([1, 2, 3, 4, 5, 6, 7, 1, 1, 1, 0, 1, 1, 2, 9], [2, 0, 0, 8, 0, 0, 0, 3])
    found = losses_by_kind(losses, [f"{BAR} {BAR}", BAR], SIX_TRACK)

    def mean(division, name):
        kinds = found[division]
        return kinds.bits_per_token(kinds.names.index(name), Bootstrap(replicates=10)).value

    assert mean("family", "pitch") == (4 + 0 + 8) / 3
    assert mean("family", "bar end") == (7 + 2 + 0) / 3
    assert mean("family", "end of piece") == (9 + 3) / 2
    assert math.isnan(mean("family", "metre"))
    assert mean("track", "melody") == ((3 + 4 + 5 + 6) + (1 + 0 + 1 + 1) + 8) / 12
    assert mean("bar", "repeats") == (1 + 1 + 1 + 0 + 1 + 1 + 2) / 7
    assert mean("bar", "new") == (28 + 10) / 14
    assert mean("track_bar", "melody, repeats") == 3 / 4
    assert found["track"].tokens.tolist() == [[7, 8, 0, 0, 0, 0, 0], [4, 4, 0, 0, 0, 0, 0]]


@pytest.mark.parametrize("length", [70, 100_000], ids=["cut", "whole"])
def test_kinds_add_up_to_what_the_model_loses(checkpoint, data_bin, piece_lines, length):
    losses = measure_losses(load_model(checkpoint, data_bin), "test", (30, length))
    found = losses_by_kind(losses, piece_lines["test"], SIX_TRACK)
    assert set(found) == {"family", "track", "bar", "track_bar"}
    for kinds in found.values():
        np.testing.assert_array_equal(kinds.tokens.sum(axis=1), losses.tokens[:, 1])
        np.testing.assert_allclose(kinds.bits.sum(axis=1), losses.bits[:, 1], rtol=1e-13)
        shares = kinds.tokens.sum(axis=0) / kinds.tokens.sum()
        means = [kinds.bits_per_token(kind, Bootstrap(replicates=2)).value for kind in range(len(kinds.names))]
        assert np.nansum(shares * means) == pytest.approx(losses.bits_per_token(1), rel=1e-13)
    names = found["track_bar"].names
    for place, track in enumerate(found["track"].names):  # the same tokens, divided once more
        own = [number for number, name in enumerate(names) if name.partition(",")[0] == track]
        np.testing.assert_allclose(
            found["track_bar"].bits[:, own].sum(axis=1), found["track"].bits[:, place], rtol=1e-13, atol=1e-12
        )


def test_losses_of_other_pieces_are_refused():
    losses = by_hand([1.0] * 8)
    with pytest.raises(ValueError, match="losses of 8 tokens"):
        losses_by_kind(losses, [f"{BAR} {BAR}"], SIX_TRACK)
    with pytest.raises(ValueError):
        losses_by_kind(losses, [], SIX_TRACK)
