import random

import numpy as np

from evaluation import ngrams
from evaluation.ngrams import ORDERS, known_ngrams


def grams(piece, order):
    return [tuple(piece[start : start + order]) for start in range(len(piece) - order + 1)]


def test_counts_are_those_of_sets_of_tuples(monkeypatch):
    monkeypatch.setattr(ngrams, "_PIECES_AT_ONCE", 4)
    chance = random.Random(0)
    write = lambda: np.array([chance.randrange(3) for _ in range(chance.choice([0, 1, 5, 60]))], dtype=np.int64)  # noqa: E731
    training, pieces = [write() for _ in range(9)], [write() for _ in range(7)]
    found = known_ngrams(training, pieces, 3)
    for column, order in enumerate(ORDERS):
        learnt = {gram for piece in training for gram in grams(piece.tolist(), order)}
        for row, piece in enumerate(pieces):
            own = grams(piece.tolist(), order)
            assert found.total[row, column] == len(own)
            assert found.known[row, column] == sum(gram in learnt for gram in own)
    assert 0 < found.known.sum() < found.total.sum()


def test_no_ngram_reaches_over_the_end_of_a_piece():
    training = [np.array([1, 2]), np.array([3, 4])]
    found = known_ngrams(training, [np.array([2, 3]), np.array([3, 4])], 5, orders=(2,))
    assert found.known.tolist() == [[0], [1]]


def test_nothing_is_known_of_nothing():
    found = known_ngrams([], [np.array([1, 2, 3])], 4, orders=(2, 8))
    assert found.known.tolist() == [[0, 0]] and found.total.tolist() == [[2, 0]]
    assert known_ngrams([np.array([1, 2])], [], 3).known.shape == (0, len(ORDERS))
