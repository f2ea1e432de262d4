import math

import numpy as np
import pytest
from sacrebleu.metrics import BLEU

from evaluation.bleu import EQUAL_WEIGHTS, WEIGHTS, bleu_score, bleu_statistics, continuation_bleu, self_bleu
from evaluation.bootstrap import Bootstrap

HYPOTHESES = ["p-60 d-6 v-20 p-62 d-6 v-20 b-1", "o-0 i-80 p-60 d-6 v-21 b-1", "t-30 b-1 t-30 b-1 t-30"]
REFERENCES = ["p-60 d-6 v-20 p-64 d-6 v-20 b-1", "o-0 i-80 p-60 d-6 v-20 b-1 t-30", "t-30 b-1 t-30 b-1"]


def test_by_hand():
    # 3 of 4 words, 2 of 3 pairs; three words fewer than the reference
    statistics = bleu_statistics("a b c d", ["a b c x y z w"], orders=2)
    assert statistics.tolist() == [4, 7, 3, 2, 4, 3]
    brevity = math.exp(1 - 7 / 4)
    assert bleu_score(statistics, (0.5, 0.5)) == pytest.approx(100 * brevity * math.sqrt(3 / 4 * 2 / 3))
    assert bleu_score(statistics, (3, 1)) == pytest.approx(100 * brevity * (3 / 4) ** 0.75 * (2 / 3) ** 0.25)
    assert bleu_score(statistics, (1, 0)) == pytest.approx(100 * brevity * 3 / 4)


def test_equal_weights_are_sacrebleus_score():
    found = continuation_bleu(HYPOTHESES, REFERENCES, EQUAL_WEIGHTS, Bootstrap())
    expected = BLEU(tokenize="none", force=True).corpus_score(HYPOTHESES, [REFERENCES]).score
    assert found.value == pytest.approx(expected)
    assert found.low < found.value < found.high


@pytest.mark.parametrize(("hypothesis", "score"), [("", 0), ("x y z", 0), ("a b c d e", 100)])
def test_nothing_and_everything(hypothesis, score):
    found = continuation_bleu([hypothesis], ["a b c d e"], EQUAL_WEIGHTS, Bootstrap())
    assert found.value == pytest.approx(score)
    assert math.isnan(found.low)


def test_a_hypothesis_too_short_for_an_order_scores_nothing_only_where_that_order_counts():
    statistics = bleu_statistics("a b", ["a b"], orders=4)
    assert bleu_score(statistics, EQUAL_WEIGHTS) == 0
    assert bleu_score(statistics, (1, 1, 0, 0)) == pytest.approx(100)


def test_self_bleu_takes_all_the_others_as_references():
    assert self_bleu(["a b c d e"] * 3, EQUAL_WEIGHTS, "same").tolist() == pytest.approx([100] * 3)
    assert self_bleu(["a b c d e", "f g h i j"], EQUAL_WEIGHTS, "other").tolist() == [0, 0]
    found = self_bleu(HYPOTHESES, EQUAL_WEIGHTS, "some")
    counter = BLEU(tokenize="none", force=True)
    expected = [
        counter.corpus_score([line], [[other] for other in HYPOTHESES if other != line]).score for line in HYPOTHESES
    ]
    np.testing.assert_allclose(found, expected)


def test_the_long_weights_count_long_runs_most():
    weights = WEIGHTS["long"]
    assert sum(weights) == pytest.approx(1) and list(weights) == sorted(weights) and weights[0] == 0
    statistics = bleu_statistics("a b c d e f g h i j", ["a b c d e f g h x y"], orders=8)
    assert bleu_score(statistics, weights) < bleu_score(statistics, EQUAL_WEIGHTS)
