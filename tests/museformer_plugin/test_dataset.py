import pickle

import numpy as np
import pytest
import torch

from museformer_plugin.dataset import PieceDataset
from museformer_plugin.errors import UserError
from museformer_plugin.fc_attention import PieceBars
from museformer_plugin.fc_attention.triton.index_lists import IndexLists
from museformer_plugin.models.museformer import MuseformerLanguageModel
from museformer_plugin.models.museformer_inputs import make_inputs


@pytest.fixture
def dataset_of(families_of, read_piece):
    """A function from options to a dataset of six pieces, ``t1 ... tn </s>`` each."""

    def build(name="six_track", numbers_of_bars=(4, 1, 9, 2, 2, 6), **options):
        pieces = []
        for seed, bars in enumerate(numbers_of_bars):
            tokens = read_piece(name, bars, seed)
            pieces.append(torch.cat([tokens[1:], tokens[:1]]))
        return PieceDataset(pieces, np.array([len(piece) for piece in pieces]), families_of(name), **options)

    return build


def test_source_is_the_target_behind_the_begin_token(dataset_of):
    dataset = dataset_of()
    batch = dataset.collater([dataset[0]])
    source, target = batch["net_input"]["src_tokens"][0], batch["target"][0]
    eos = dataset.families.dictionary.eos()
    assert target.tolist() == dataset.pieces[0].tolist()
    assert source.tolist() == [eos, *target[:-1].tolist()]
    assert target[-1] == eos


def test_unequal_pieces_are_padded_on_the_right_with_padding(dataset_of):
    dataset = dataset_of()
    batch = dataset.collater([dataset[1], dataset[2]])
    lengths = batch["net_input"]["src_lengths"].tolist()
    assert lengths == [len(dataset.pieces[1]), len(dataset.pieces[2])]
    pad = dataset.families.dictionary.pad()
    for rows in (batch["net_input"]["src_tokens"], batch["target"]):
        assert (rows == pad).sum(dim=1).tolist() == [lengths[1] - lengths[0], 0]
        assert (rows[0, lengths[0] :] == pad).all()
    assert batch["ntokens"] == sum(lengths)
    assert batch["nsentences"] == 2
    assert batch["id"].tolist() == [1, 2]


def test_bars_and_beats_come_with_the_batch(dataset_of, build_decoder):
    decoder = build_decoder()
    dataset = dataset_of(inputs=decoder.inputs)
    found = dataset.collater([dataset[3], dataset[0]])["net_input"]["inputs"]
    sources = [torch.cat([dataset.pieces[n][-1:], dataset.pieces[n][:-1]]) for n in (3, 0)]
    expected = decoder.inputs_of(sources)
    np.testing.assert_array_equal(found.positions, expected.positions)
    np.testing.assert_array_equal(found.layout.token_plan.key_ranges, expected.layout.token_plan.key_ranges)
    assert "inputs" not in dataset_of().collater([dataset[0]])["net_input"]


def test_a_batch_feeds_the_model(dataset_of, build_decoder):
    model = MuseformerLanguageModel(build_decoder(dtype=torch.float32))
    dataset = dataset_of(inputs=model.decoder.inputs)
    batch = dataset.collater([dataset[n] for n in range(len(dataset))])
    with torch.no_grad():
        logits = model(**batch["net_input"])[0]
    assert logits.shape == (*batch["target"].shape, len(dataset.families.dictionary))


@pytest.mark.parametrize("max_tokens", [1, 10, 10_000])
def test_truncation_keeps_the_first_tokens(dataset_of, max_tokens):
    whole, dataset = dataset_of(), dataset_of(max_tokens=max_tokens)
    for number in range(len(dataset)):
        assert dataset[number]["target"].tolist() == whole[number]["target"][:max_tokens].tolist()
        assert dataset.size(number) == dataset.num_tokens(number) == len(dataset[number]["target"])


@pytest.mark.parametrize("required_batch_size_multiple", [1, 8])
@pytest.mark.parametrize("max_sentences", [None, 1, 4, 8, 100])
@pytest.mark.parametrize("max_tokens", [None, 150, 4000])
def test_no_piece_is_lost_in_batching(dataset_of, max_tokens, max_sentences, required_batch_size_multiple):
    dataset = dataset_of(numbers_of_bars=[1 + n % 5 for n in range(21)])
    indices = dataset.ordered_indices()
    batches = dataset.batch_by_size(indices, max_tokens, max_sentences, required_batch_size_multiple)
    assert sorted(np.concatenate(batches).tolist()) == list(range(21))
    for batch in batches:
        assert len(batch) <= (max_sentences or 21)
        assert max_tokens is None or len(batch) * max(dataset.sizes[batch]) <= max_tokens


def test_a_piece_that_does_not_fit_a_batch_is_told(dataset_of):
    dataset = dataset_of()
    longest = max(dataset.sizes)
    with pytest.raises(UserError, match=f"A piece of {longest} tokens does not fit into batches of {longest - 1}"):
        dataset.batch_by_size(dataset.ordered_indices(), max_tokens=longest - 1)


def test_pieces_come_by_length(dataset_of):
    dataset = dataset_of()
    order = dataset.ordered_indices()
    assert sorted(order.tolist()) == list(range(6))
    assert (np.diff(dataset.sizes[order]) >= 0).all()


def test_pieces_of_equal_length_come_in_an_order_of_the_seed(dataset_of):
    dataset = dataset_of(max_tokens=5)

    def order(seed):
        np.random.seed(seed)
        return dataset.ordered_indices().tolist()

    assert order(1) == order(1)
    assert len({tuple(order(seed)) for seed in range(8)}) > 1
    dataset.shuffle = False
    assert order(1) == list(range(6))


@pytest.mark.parametrize(("prompt_bars", "bars_read"), [(0, 0), (2, 2), (4, 4), (9, 4), (None, 4)], ids=str)
def test_prompts_are_whole_bars(dataset_of, prompt_bars, bars_read):
    dataset = dataset_of(prompt_bars=prompt_bars)
    batch = dataset.collater([dataset[0]])  # four bars
    prompt = batch["net_input"]["src_tokens"][0, : batch["prompt_lengths"][0]]
    assert (prompt == dataset.families.end_of_bar).sum() == bars_read
    assert prompt[-1] == (dataset.families.end_of_bar if bars_read else dataset.families.dictionary.eos())


def test_no_samples_make_no_batch(dataset_of):
    assert dataset_of().collater([]) == {}


@pytest.mark.parametrize("for_gpu", [False, True])
def test_a_layout_travels_from_the_workers_with_its_index_lists(families_of, for_gpu):
    pieces, bars = [np.full(10, 5)], [PieceBars(10, np.array([1, 4]), 2)]
    layout = make_inputs(families_of("six_track"), pieces, bars, (1, 2), True, for_gpu).layout
    arrived = pickle.loads(pickle.dumps(layout))
    assert list(arrived.token_plan._prepared) == ([(IndexLists.of,)] if for_gpu else [])
    assert np.array_equal(arrived.token_plan.key_ranges, layout.token_plan.key_ranges)
