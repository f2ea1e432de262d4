"""What the tests of steering share: guides of random bars."""

import numpy as np
import pytest

from museformer_plugin.fc_attention import NO_BAR
from museformer_plugin.steering.conditions import ConditionColumns
from museformer_plugin.steering.guide import BarGuide


@pytest.fixture(scope="session")
def draw_guide():
    """A function (families, bars, seed) to bars numbered in any order, some of which repeat others, of which all kinds
    of things are said."""

    def draw(families, bars, seed):
        chance = np.random.default_rng(seed)
        repeats = [int(chance.integers(-1, bar)) if bar else NO_BAR for bar in range(bars)]
        width = ConditionColumns.of(families).width
        said = chance.normal(size=(bars, width)) * (chance.random((bars, 1)) < 0.8)
        return BarGuide(chance.permutation(bars) + 1, np.array(repeats), said.astype(np.float32))

    return draw
