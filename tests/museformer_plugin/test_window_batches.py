from dataclasses import replace
from functools import partial
from itertools import islice

import numpy as np
import pytest
import torch

from museformer_plugin.errors import UserError
from museformer_plugin.fc_attention import BarLayout
from museformer_plugin.fc_attention.reference import dense_masks
from museformer_plugin.models.museformer import MuseformerLanguageModel
from museformer_plugin.models.museformer_inputs import MuseformerInputs, make_inputs
from museformer_plugin.positions import Positions
from museformer_plugin.window_batches import WindowBatches, WindowDataset
from museformer_plugin.windows import BatchLimits, Window, WindowSchedule

STRUCTURE_BARS = (1, 2, 4)


@pytest.fixture(scope="module")
def dataset_of(families_of, read_piece):
    """A function from a representation and numbers of bars to a dataset of windows."""

    def build(name="six_track", numbers_of_bars=(14, 1, 9, 2, 22, 6)):
        pieces = []
        for seed, bars in enumerate(numbers_of_bars):
            tokens = read_piece(name, bars, seed)
            pieces.append(torch.cat([tokens[1:], tokens[:1]]))
        sizes = np.array([len(piece) for piece in pieces])
        families = families_of(name)
        inputs = partial(make_inputs, families, structure_bars=STRUCTURE_BARS, coarse=True, for_gpu=False)
        return WindowDataset(pieces, sizes, families, inputs=inputs)

    return build


@pytest.fixture(scope="module")
def dataset(dataset_of):
    return dataset_of(numbers_of_bars=[1 + 7 * n % 23 for n in range(30)])


@pytest.fixture
def batches_of(dataset):
    """A function from options to the batches of an epoch, which switch from 40 to 120 tokens after 17 updates."""

    def build(first_update=0, update_freq=(1,), schedule=((40, 120), (17,)), **keywords):
        defaults = {"seed": 1, "epoch": 1, "num_shards": 1, "shard_id": 0, "num_workers": 0}
        limits = BatchLimits(130)
        return WindowBatches(
            dataset, WindowSchedule(*schedule), limits, update_freq, first_update, **{**defaults, **keywords}
        )

    return build


def window(dataset, piece, first_bar, last_bar):
    edges = dataset.edges[piece]
    return Window(piece, int(edges[first_bar - 1]), int(edges[last_bar]), first_bar)


def read(batches, count=None):
    """What is handed out: (piece, targets) of each window, batch by batch."""
    return [
        [(int(n), tuple(row)) for n, row in zip(batch["id"], batch["target"].tolist())] if batch else []
        for batch in islice(batches, count)
    ]


# windows as samples


@pytest.mark.parametrize("name", ["six_track", "general"])
def test_a_window_is_its_part_of_the_piece(dataset_of, families_of, name):
    dataset = dataset_of(name)
    dictionary = families_of(name).dictionary
    for piece, first, last in [(0, 1, 14), (0, 1, 3), (0, 4, 9), (4, 20, 22), (4, 22, 22), (1, 1, 1)]:
        part = window(dataset, piece, first, last)
        whole = dataset.pieces[piece].tolist()
        batch = dataset.collater([dataset[part]])
        target = batch["target"][0].tolist()
        assert target == whole[part.start : part.end]
        assert (target[-1] == dictionary.eos()) == (last == len(dataset.edges[piece]) - 1)
        prefix = dictionary.eos() if first == 1 else dictionary.bos()
        assert batch["net_input"]["src_tokens"][0].tolist() == [prefix, *target[:-1]]
        assert batch["ntokens"] == len(target)


@pytest.mark.parametrize("name", ["six_track", "general"])
def test_bars_and_beats_are_those_of_the_piece(dataset_of, families_of, name):
    dataset, families = dataset_of(name), families_of(name)
    for piece in range(6):
        source = np.concatenate([[families.dictionary.eos()], dataset.pieces[piece][:-1].numpy()])
        whole = np.stack(families.positions(source, families.piece_bars(source)))
        for first in range(1, len(dataset.edges[piece])):
            part = window(dataset, piece, first, len(dataset.edges[piece]) - 1)
            net_input = dataset.collater([dataset[part]])["net_input"]
            inside = slice(1 + part.start, part.end)
            np.testing.assert_array_equal(net_input["inputs"].layout.bar_ids, [0, *whole[0, inside]])
            np.testing.assert_array_equal(net_input["inputs"].positions, np.c_[[0] * 5, whole[:, inside]])


def test_masks_are_those_of_the_piece(dataset_of, families_of):
    """Inside the window, who sees whom is as in the whole piece."""
    dataset, families = dataset_of(), families_of("six_track")
    source = np.concatenate([[families.dictionary.eos()], dataset.pieces[4][:-1].numpy()])
    whole = BarLayout.build([families.piece_bars(source)], STRUCTURE_BARS)
    part = window(dataset, 4, 5, 17)
    layout = dataset.collater([dataset[part]])["net_input"]["inputs"].layout
    tokens = np.r_[0, 1 + part.start : part.end]
    summaries = np.flatnonzero(np.isin(whole.summary_bar_ids, layout.summary_bar_ids))
    assert layout.summary_bar_ids.tolist() == list(range(5, 17))  # the last bar lacks its end
    columns = np.r_[summaries, whole.num_summaries + tokens]
    for found, expected, rows in zip(dense_masks(layout), dense_masks(whole), (tokens, summaries)):
        assert torch.equal(found, expected[rows][:, columns])


def test_logits_are_those_of_its_bars_alone(dataset_of, families_of, build_decoder):
    """In a batch: the model on tokens whose bar and beat ids are taken from the whole piece."""
    dataset, families = dataset_of(), families_of("six_track")
    model = MuseformerLanguageModel(build_decoder())
    parts = [window(dataset, 4, 5, 17), window(dataset, 0, 1, 6), window(dataset, 4, 18, 22)]
    with torch.no_grad():
        found = model(**dataset.collater([dataset[part] for part in parts])["net_input"])[0]
        for part, logits in zip(parts, found):
            source = np.concatenate([[families.dictionary.eos()], dataset.pieces[part.piece][:-1].numpy()])
            whole = np.stack(families.positions(source, families.piece_bars(source)))
            inside = slice(1 + part.start, part.end)
            tokens = np.array([2 if part.first_bar == 1 else 0, *source[inside]])
            numbered_from_1 = model.decoder.inputs_of([torch.from_numpy(tokens)])
            positions = Positions(*np.c_[[0] * 5, whole[:, inside]])
            layout = numbered_from_1.layout
            layout = replace(
                layout, bar_ids=positions.bars, summary_bar_ids=layout.summary_bar_ids + part.first_bar - 1
            )
            rows = model.decoder.extract_features(torch.from_numpy(tokens), MuseformerInputs(layout, positions))
            expected = model.decoder.output_projection(rows)
            torch.testing.assert_close(logits[: len(expected)], expected, rtol=0, atol=1e-10)
            if part.first_bar > 1:
                other = model.decoder.output_projection(
                    model.decoder.extract_features(torch.from_numpy(tokens), numbered_from_1)
                )
                assert (other - expected).abs().max() > 1e-3


# the batches of an epoch


def longest_by_update(shards, update_freq):
    """The longest window of each update, from the batches of all processes."""
    longest = [[max((w.end - w.start for w in batch), default=0) for batch in shard] for shard in shards]
    rounds = [max(of_round) for of_round in zip(*longest)]
    return [max(rounds[n : n + update_freq]) for n in range(0, len(rounds), update_freq)]


@pytest.mark.parametrize(("num_shards", "update_freq"), [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1)])
def test_lengths_change_at_the_named_update(batches_of, num_shards, update_freq):
    updates = 0
    longest = []
    for epoch in range(1, 10):
        shards = []
        for shard_id in range(num_shards):
            options = {"epoch": epoch, "num_shards": num_shards, "shard_id": shard_id, "update_freq": [update_freq]}
            batches = batches_of(first_update=updates, **options)
            handed_out = read(batches.next_epoch_itr())
            shards.append(list(batches.epoch_batch_sampler))
            assert [len(batch) for batch in handed_out] == [len(batch) for batch in shards[-1]]
        longest += longest_by_update(shards, update_freq)
        updates = batches.updates
        assert updates == len(longest)
    assert len(longest) > 25
    assert max(longest[:17]) <= 40
    assert max(longest[17:20]) > 80


def test_epochs_differ_and_repeat_with_their_seed(batches_of):
    first = read(batches_of().next_epoch_itr())
    assert read(batches_of().next_epoch_itr()) == first
    assert read(batches_of(epoch=2).next_epoch_itr()) != first
    assert read(batches_of(seed=2).next_epoch_itr()) != first


@pytest.mark.parametrize("num_workers", [1, 2])
def test_workers_hand_out_the_same(batches_of, num_workers):
    assert read(batches_of(num_workers=num_workers, buffer_size=4).next_epoch_itr()) == read(
        batches_of().next_epoch_itr()
    )


@pytest.mark.parametrize("first_update", [0, 12, 40])
@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_a_run_goes_on_where_it_stood(batches_of, first_update, overlap):
    options = {"update_freq": [2], "num_shards": 2, "shard_id": 1, "schedule": ((40, 120), (17,), overlap)}
    whole = batches_of(first_update, **options)
    expected = read(whole.next_epoch_itr())
    assert whole.end_of_epoch()
    for count in range(0, len(expected), 2):
        stopped = batches_of(first_update, **options)
        read(stopped.next_epoch_itr(), count)
        resumed = batches_of(**options)
        resumed.load_state_dict(stopped.state_dict())
        assert resumed.updates == first_update + count // 2
        assert read(resumed.next_epoch_itr()) == expected[count:]
        assert resumed.updates == whole.updates


@pytest.mark.parametrize(
    ("schedule", "changes"),
    [
        (((40, 120), (17,)), None),
        (((60, 120), (17,)), "with --window-tokens 40,120 (now 60,120): of what"),
        (((40, 120), (9,), 0.5), "with --window-updates 17 (now 9), --window-overlap 0.0 (now 0.5): of what"),
    ],
    ids=["none", "lengths", "others"],
)
def test_an_epoch_that_goes_on_with_other_windows_is_told(batches_of, caplog, schedule, changes):
    caplog.set_level("WARNING", logger="museformer_plugin.window_batches")
    stopped = batches_of()
    read(stopped.next_epoch_itr(), 5)
    state = stopped.state_dict()
    batches_of(schedule=schedule).load_state_dict(state)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == (0 if changes is None else 1)
    assert all(changes in sentence for sentence in told)
    caplog.clear()
    batches_of(schedule=schedule).load_state_dict({**state, "iterations_in_epoch": 0})
    assert not caplog.text


def test_overlapping_windows_reach_the_batches_and_the_log(batches_of, caplog):
    caplog.set_level("INFO", logger="museformer_plugin.window_batches")
    tokens = []
    for overlap in (0.0, 0.5):
        batches = batches_of(schedule=((120,), (), overlap))
        handed_out = [batch["ntokens"] for batch in batches.next_epoch_itr()]
        sizes = [sum(window.end - window.start for window in batch) for batch in batches.frozen_batches]
        assert f"in {len(sizes)} batches of {np.mean(sizes):.0f} tokens on average" in caplog.text
        assert handed_out == sizes
        tokens.append(sum(sizes))
    assert tokens[1] > 1.8 * tokens[0]


def test_a_finished_epoch_is_followed_by_the_next(batches_of):
    finished = batches_of()
    read(finished.next_epoch_itr())
    resumed = batches_of(epoch=2)
    resumed.load_state_dict(finished.state_dict())
    assert finished.updates == resumed.updates == len(finished)
    assert read(resumed.next_epoch_itr()) == read(batches_of(finished.updates, epoch=2).next_epoch_itr())


def windows_in(batches):
    return sorted(found for batch in batches for found in batch)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"update_freq": [2]}, {"update_freq": [1]}),
        ({"update_freq": [1]}, {"update_freq": [4]}),
        ({"num_shards": 2}, {}),
    ],
    ids=["smaller_update_freq", "larger_update_freq", "fewer_processes"],
)
def test_a_run_goes_on_with_other_updates(batches_of, before, after):
    """In an epoch without a change of lengths no window is lost or read twice, and updates count on."""
    schedule = ((60,), ())
    stopped = [batches_of(50, schedule=schedule, shard_id=n, **before) for n in range(before.get("num_shards", 1))]
    seen = [batch for shard in stopped for batch in read(shard.next_epoch_itr(), 4)]
    resumed = batches_of(schedule=schedule, **after)
    resumed.load_state_dict(stopped[0].state_dict())
    assert resumed.updates == stopped[0].updates == 50 + 4 // before.get("update_freq", [1])[0]
    rest = read(resumed.next_epoch_itr())
    assert windows_in(seen + rest) == windows_in(read(batches_of(50, schedule=schedule).next_epoch_itr()))


@pytest.mark.parametrize(
    ("before", "after", "read_before"),
    [
        ({"update_freq": [1]}, {"update_freq": [2]}, 3),
        ({"update_freq": [3]}, {"update_freq": [2]}, 9),
        ({"num_shards": 2}, {"num_shards": 1}, 5),
        ({"num_shards": 1}, {"num_shards": 2, "update_freq": [3]}, 6),
    ],
    ids=["larger_update_freq", "smaller_update_freq", "fewer_processes", "more_of_both"],
)
def test_lengths_change_at_their_update_with_other_updates(batches_of, before, after, read_before):
    """Ten updates before the change the run goes on with updates of other sizes."""
    stopped = batches_of(17 - 10 - read_before // before.get("update_freq", [1])[0], **before)
    read(stopped.next_epoch_itr(), read_before)
    longest = []
    for shard_id in range(after.get("num_shards", 1)):
        resumed = batches_of(shard_id=shard_id, **after)
        resumed.load_state_dict(stopped.state_dict())
        assert resumed.updates == 7
        read(resumed.next_epoch_itr(), 0)
        longest.append(list(resumed.epoch_batch_sampler))
    update_freq = after.get("update_freq", [1])[0]
    of_updates = longest_by_update(longest, update_freq)
    assert max(of_updates[:10]) <= 40
    assert len(of_updates) < 11 or of_updates[10] > 40


def test_a_shorter_epoch_is_over(batches_of):
    stopped = batches_of(40)
    read(stopped.next_epoch_itr(), len(stopped) - 1)
    resumed = batches_of(num_shards=1)
    state = {**stopped.state_dict(), "iterations_in_epoch": 10**4, "updates": 57}
    resumed.load_state_dict(state)
    assert resumed.next_epoch_idx == 2
    assert read(resumed.next_epoch_itr()) == read(batches_of(57, epoch=2).next_epoch_itr())


def test_a_checkpoint_of_whole_pieces_is_told(batches_of):
    with pytest.raises(UserError, match="was trained on whole pieces: pass --reset-dataloader"):
        batches_of().load_state_dict({"version": 2, "epoch": 1, "iterations_in_epoch": 3, "shuffle": True})
