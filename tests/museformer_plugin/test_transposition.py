"""Training pieces in other keys: which, and that nothing but pitched notes moves."""

import numpy as np
import pytest
import torch

from data_prep.tokens.grammar import check_piece
from data_prep.tokens.vocabulary import REPRESENTATIONS, TokenError
from museformer_plugin.dataset import PieceDataset
from museformer_plugin.transposition import Transposition
from museformer_plugin.window_batches import WindowBatches, WindowDataset
from museformer_plugin.windows import BatchLimits, Window, WindowSchedule

NOTES = "t-30 o-0 i-80 p-72 d-5 v-20 p-60 d-5 v-20 i-128 p-164 d-5 v-20 p-128 d-3 v-2 i-43 p-40 d-5 v-20 b-1"
TOO_WIDE = "t-30 o-0 i-0 p-127 d-5 v-20 p-0 d-5 v-20 b-1"
DRUMS_ALONE = "t-30 o-0 i-128 p-164 d-5 v-20 b-1"
EPOCHS = range(1, 13)


@pytest.fixture(scope="module")
def transposition_of(families_of):
    """A function from a representation, and a seed, to what transposes its pieces."""
    return lambda name="six_track", seed=1, **options: Transposition(families_of(name), seed, **options)


@pytest.fixture(scope="module")
def coded(dictionary_of):
    """A function from a piece's line to the piece as fairseq-preprocess writes it."""

    def code(text, name="six_track", dtype=torch.int64):
        dictionary = dictionary_of(name)
        return torch.tensor([*(dictionary.index(word) for word in text.split()), dictionary.eos()], dtype=dtype)

    return code


@pytest.fixture(scope="module")
def words_of(dictionary_of):
    """A function from such a piece to its words."""

    def words(tokens, name="six_track"):
        dictionary = dictionary_of(name)
        return [dictionary[token] for token in tokens[:-1].tolist()]

    return words


def obeys(words, name):
    """Some songs play other instruments than the six tracks, or in other metres."""
    try:
        check_piece(words, REPRESENTATIONS[name])
    except TokenError:
        return False
    return set(words) <= set(REPRESENTATIONS[name].symbols())


@pytest.fixture(scope="module", params=["six_track", "general"])
def real_pieces(request, golden):
    """A representation, and what songs are encoded to."""
    texts = [path.read_text() for path in sorted((golden / "encode" / request.param).iterdir())]
    texts = [text for text in texts if obeys(text.split(), request.param)]
    assert len(texts) > 5
    return request.param, texts


def moved_by_hand(words, shift):
    """Of the notes of all instruments but drums."""
    found, instrument = [], None
    for word in words:
        letter, number = word.split("-")
        instrument = number if letter == "i" else instrument
        found.append(f"p-{int(number) + shift}" if letter == "p" and instrument != "128" else word)
    return found


def test_real_pieces_keep_to_the_grammar_in_all_their_keys(transposition_of, coded, words_of, real_pieces):
    name, texts = real_pieces
    transpose = transposition_of(name)
    several = 0
    for number, text in enumerate(texts):
        tokens, shifts = coded(text, name), []
        for epoch in EPOCHS:
            shifts.append(transpose.shift(number, tokens, epoch))
            found = words_of(transpose(number, tokens, epoch), name)
            check_piece(found, REPRESENTATIONS[name])
            assert found == moved_by_hand(text.split(), shifts[-1])
        assert set(shifts) == set(transpose.shifts_of(tokens))
        several += len(set(shifts)) > 8
    assert several > 3


@pytest.mark.parametrize(
    ("pitches", "shifts"),
    [
        ((60, 72), range(-6, 6)),
        ((3, 72), range(-3, 6)),
        ((60, 125), range(-6, 3)),
        ((0, 60), range(6)),
        ((60, 127), range(-6, 1)),
        ((2, 126), range(-2, 2)),
        ((0, 127), range(1)),
    ],
    ids=str,
)
def test_keys_keep_all_pitches_in_range(transposition_of, coded, pitches, shifts):
    low, high = pitches
    text = f"t-30 o-0 i-80 p-{high} d-5 v-20 i-128 p-255 d-5 v-20 p-128 d-5 v-20 i-0 p-{low} d-5 v-20 b-1"
    assert transposition_of().shifts_of(coded(text)) == shifts


@pytest.mark.parametrize("text", [TOO_WIDE, DRUMS_ALONE, "t-30 b-1"], ids=["too_wide", "drums", "silence"])
def test_a_piece_of_one_key_stays(transposition_of, coded, text):
    for epoch in EPOCHS:
        assert torch.equal(transposition_of()(0, coded(text), epoch), coded(text))


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16], ids=str)
def test_the_piece_itself_and_its_type_stay(transposition_of, coded, dtype):
    tokens = coded(NOTES, dtype=dtype)
    found = [transposition_of()(0, tokens, epoch) for epoch in EPOCHS]
    assert {piece.dtype for piece in found} == {dtype}
    assert len({tuple(piece.tolist()) for piece in found}) == 12
    assert torch.equal(tokens, coded(NOTES, dtype=dtype))


def test_each_epoch_has_another_key_until_all_have_been(transposition_of, coded):
    tokens = coded(NOTES)
    shifts = [transposition_of().shift(7, tokens, epoch) for epoch in range(1, 37)]
    assert sorted(shifts[:12]) == list(range(-6, 6))
    assert shifts[12:] == shifts[:24]


def test_orders_are_the_seeds_and_the_pieces(transposition_of, coded):
    def shifts(seed, number):
        return tuple(transposition_of(seed=seed).shift(number, coded(NOTES), epoch) for epoch in EPOCHS)

    assert shifts(1, 2) == shifts(1, 2)
    assert len({shifts(seed, number) for seed in range(3) for number in range(5)}) == 15


def test_keys_are_spread_evenly(transposition_of, coded):
    """Over the pieces of an epoch."""
    transpose, tokens = transposition_of(), coded(NOTES)
    counts = np.bincount([transpose.shift(number, tokens, 3) + 6 for number in range(1200)])
    assert len(counts) == 12
    assert (abs(counts - 100) < 40).all()


def test_folders_in_turn_leave_out_no_key(transposition_of, coded):
    """Of two folders one is read in epochs 1, 3, 5 and so on."""
    transpose = transposition_of(turns=2)
    shifts = [transpose.shift(0, coded(NOTES), epoch) for epoch in range(1, 25, 2)]
    assert sorted(shifts) == list(range(-6, 6))


@pytest.fixture
def narrow_pieces(read_piece, dictionary_of):
    """Pieces whose pitches but for drums are 60, so that all have twelve keys."""
    dictionary = dictionary_of("six_track")
    pitches = torch.tensor([dictionary.index(f"p-{pitch}") for pitch in range(128)])
    pieces = [read_piece("six_track", 8, seed) for seed in range(9)]
    pieces = [torch.cat([piece[1:], piece[:1]]) for piece in pieces]
    return [torch.where(torch.isin(piece, pitches), dictionary.index("p-60"), piece) for piece in pieces]


def test_datasets_read_the_key_of_their_epoch(transposition_of, families_of, narrow_pieces):
    """Whole pieces and windows alike, a window as the part of its piece."""
    sizes, families = np.array([len(piece) for piece in narrow_pieces]), families_of("six_track")
    whole = PieceDataset(narrow_pieces, sizes, families, transposition=transposition_of())
    short = PieceDataset(narrow_pieces, sizes, families, max_tokens=20, transposition=transposition_of())
    windows = WindowDataset(narrow_pieces, sizes, families, inputs=None, transposition=transposition_of())
    seen = set()
    for epoch in EPOCHS:
        for dataset in (whole, short, windows):
            dataset.set_epoch(epoch)
        expected = transposition_of()(3, narrow_pieces[3], epoch)
        start, end = (int(edge) for edge in windows.edges[3][[2, 5]])
        assert torch.equal(whole[3]["target"], expected)
        assert torch.equal(short[3]["target"], expected[:20])
        assert torch.equal(windows[Window(3, start, end, 3)]["target"], expected[start:end])
        seen.add(tuple(expected.tolist()))
    assert len(seen) == 12


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_run_on_windows_goes_on_in_the_keys_it_had(transposition_of, families_of, narrow_pieces, num_workers):
    def batches():
        sizes = np.array([len(piece) for piece in narrow_pieces])
        dataset = WindowDataset(
            narrow_pieces, sizes, families_of("six_track"), inputs=None, transposition=transposition_of()
        )
        options = {"seed": 1, "epoch": 1, "num_shards": 1, "shard_id": 0, "num_workers": num_workers}
        return WindowBatches(dataset, WindowSchedule((60,), ()), BatchLimits(200), [1], 0, **options)

    def read(handed_out):
        return [batch["target"].tolist() for batch in handed_out]

    whole = batches()
    first, second = read(whole.next_epoch_itr()), whole.next_epoch_itr()
    read_before = [next(second)["target"].tolist() for _ in range(2)]
    state = whole.state_dict()
    assert (state["epoch"], state["iterations_in_epoch"]) == (2, 2)
    resumed = batches()
    resumed.load_state_dict(state)
    rest = read(second)
    assert len(rest) > 2
    assert read(resumed.next_epoch_itr()) == rest
    assert read_before + rest != first
