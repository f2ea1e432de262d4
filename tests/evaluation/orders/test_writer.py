"""Requests through the generator, many at a time."""

import numpy as np
import pytest
import torch

from evaluation.orders.exactness import faults_of
from evaluation.orders.random_requests import Case
from evaluation.orders.writer import Writer
from museformer_plugin.models.museformer import MuseformerConfig, MuseformerDecoder
from museformer_plugin.sampling import SamplingOptions
from museformer_plugin.steering.track_plan import TrackPlan
from museformer_plugin.steering.wishes import Wishes


def silent_until(last, given=frozenset()):
    """Bars of two tokens, so that a model that knows nothing comes to an end; but something is to be written."""
    return TrackPlan(((1, given), (last, given | {1})))


@pytest.fixture(scope="module")
def decoder(families):
    torch.manual_seed(0)
    sizes = {"decoder_layers": 1, "decoder_embed_dim": 16, "decoder_attention_heads": 2, "decoder_ffn_embed_dim": 16}
    return MuseformerDecoder(MuseformerConfig(**sizes, steerable=True), families.dictionary).eval()


def test_each_request_gets_its_own_piece(decoder, piece_of, families):
    songs = [piece_of([[(0, 80, 60 + bar, 12)] for bar in range(bars)]) for bars in (5, 7, 6)]
    cases = [Case(Wishes(fill_bars=((2, 3),), tracks=silent_until(3)), song) for song in songs]
    requests = [case.wishes.request_for(case.song.tokens, families) for case in cases]
    requests.append(Wishes(bars=4, tracks=silent_until(4)).request_for(np.empty(0, dtype=np.int64), families))
    for streams in (1, 2, 4):
        pieces = Writer(decoder, SamplingOptions(True, 8, 0, 1.0), streams=streams).write(requests)
        assert [len(piece) for piece in pieces] == [5, 7, 6, 4]
        for case, piece in zip(cases, pieces):
            assert faults_of(case, piece, families) == []
            assert set(piece.notes[:, 0].tolist()) - {2} == set(range(len(piece))) - {1, 2}


def test_given_melodies_come_back(decoder, piece_of, families):
    song = piece_of([[(0, 80, 60 + bar, 12), (24, 80, 50, 6), (0, 0, 40, 12)] for bar in range(5)])
    case = Case(Wishes(given_tracks=frozenset({0}), tracks=silent_until(5, frozenset({0}))), song)
    request = case.wishes.request_for(song.tokens, families)
    (piece,) = Writer(decoder, SamplingOptions(True, 8, 0, 1.0)).write([request])
    assert faults_of(case, piece, families) == []
    assert (piece.notes[:, 0] < 4).sum() == 8
