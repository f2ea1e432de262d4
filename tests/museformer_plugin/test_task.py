"""The task's seams to fairseq, in this process; test_commands runs the commands themselves."""

from argparse import Namespace

import numpy as np
import pytest
import torch
from fairseq.data import data_utils, indexed_dataset
from omegaconf import OmegaConf

from data_prep.tokens.vocabulary import REPRESENTATIONS
from museformer_plugin.errors import UserError
from museformer_plugin.generator import MuseformerGenerator
from museformer_plugin.models.museformer import MuseformerConfig, MuseformerLanguageModel
from museformer_plugin.task import MuseformerLanguageModelingTask, MuseformerTaskConfig


@pytest.fixture
def data_folder(tmp_path, dictionary_of, piece_lines):
    """A folder with dict.txt and, binarised, the splits of ``piece_lines``."""
    (tmp_path / "dict.txt").write_text(REPRESENTATIONS["six_track"].dict_txt())
    for split, lines in piece_lines.items():
        write_split(tmp_path, split, lines, dictionary_of("six_track"))
    return tmp_path


def write_split(folder, split, lines, dictionary):
    builder = indexed_dataset.make_builder(str(folder / f"{split}.bin"), "mmap", vocab_size=len(dictionary))
    for line in lines:
        entries = [dictionary.index(word) for word in line.split()]
        builder.add_item(torch.tensor([*entries, dictionary.eos()]))
    builder.finalize(str(folder / f"{split}.idx"))


@pytest.fixture
def set_up(data_folder):
    """A function from options to the task."""

    def set_up(**options):
        cfg = MuseformerTaskConfig(**{"data": str(data_folder), "dataset_impl": "mmap", **options})
        return MuseformerLanguageModelingTask.setup_task(cfg)

    return set_up


def generation(**options):
    """fairseq's options of generation, at their defaults but for these."""
    defaults = {
        "score_reference": False,
        "sampling": True,
        "sampling_topk": 8,
        "sampling_topp": -1.0,
        "temperature": 1.0,
        "beam": 1,
        "min_len": 1,
        "max_len_a": 0,
        "max_len_b": 200,
        "constraints": None,
        "diverse_beam_groups": -1,
        "diversity_rate": -1.0,
        "match_source_len": False,
        "no_repeat_ngram_size": 0,
        "print_alignment": None,
        "print_step": False,
    }
    return Namespace(**{**defaults, **options})


def test_splits_load(set_up, piece_lines):
    task = set_up()
    for split, lines in piece_lines.items():
        task.load_dataset(split)
        dataset = task.dataset(split)
        assert [len(dataset[n]["target"]) for n in range(len(dataset))] == [len(line.split()) + 1 for line in lines]


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_each_split_is_truncated_by_its_own_option(set_up, split):
    task = set_up(**{f"truncate_{split}": 10})
    for other in ("train", "valid", "test"):
        task.load_dataset(other)
        longest = max(task.dataset(other).sizes)
        assert (longest == 10) == (other == split)


def test_folders_are_taken_in_turn(set_up, data_folder, piece_lines, dictionary_of, tmp_path_factory):
    second = tmp_path_factory.mktemp("second")
    write_split(second, "train", piece_lines["train"][:2], dictionary_of("six_track"))
    task = set_up(data=f"{data_folder}:{second}")
    found = []
    for epoch in (1, 2, 3):
        task.load_dataset("train", epoch=epoch)
        found.append(len(task.dataset("train")))
    assert found == [13, 2, 13]


def test_windows_of_an_epoch_go_on_from_those_before(set_up):
    """By the schedule, in which updates are counted from the beginning of the training."""
    options = {"train_subset": "train", "valid_subset": "valid", "update_freq": [1]}
    task = set_up(window_tokens="40,120", window_updates="9", **options)
    sizes = {"decoder_layers": 1, "decoder_embed_dim": 16, "decoder_attention_heads": 2, "decoder_ffn_embed_dim": 16}
    task.build_model(OmegaConf.structured(MuseformerConfig(_name="museformer", **sizes)))
    task.load_dataset("train")
    keywords = {"seed": 1, "num_shards": 1, "shard_id": 0, "num_workers": 0, "skip_remainder_batch": False}
    updates = 0
    for epoch in (1, 2, 3):
        batches = task.get_batch_iterator(task.dataset("train"), 130, epoch=epoch, data_buffer_size=0, **keywords)
        assert batches.updates == updates
        updates += sum(1 for _ in batches.next_epoch_itr())
    assert updates > 3


def test_pieces_of_equal_length_come_in_one_order_wherever_a_training_is_resumed(set_up):
    def order(seed, epoch):
        task = set_up(truncate_train=10)  # all have this length
        task.load_dataset("train", epoch=epoch)
        batches = task.get_batch_iterator(task.dataset("train"), max_sentences=1, seed=seed, epoch=epoch)
        return [batch["id"].item() for batch in batches.next_epoch_itr(shuffle=False)]

    with data_utils.numpy_seed(6):  # as fairseq's own first epoch of seed 5 has it
        expected = np.random.permutation(13).tolist()
    assert order(5, 1) == order(5, 3) == expected
    assert order(6, 1) != expected


@pytest.mark.parametrize("windows", ["", "40"], ids=["pieces", "windows"])
def test_training_pieces_alone_are_read_in_other_keys(set_up, windows):
    options = {"train_subset": "train", "valid_subset": "valid", "update_freq": [1], "seed": 5}
    sizes = {"decoder_layers": 1, "decoder_embed_dim": 16, "decoder_attention_heads": 2, "decoder_ffn_embed_dim": 16}
    for transpose_train in (False, True):
        task = set_up(window_tokens=windows, transpose_train=transpose_train, **options)
        task.load_dataset("train")
        assert task.dataset("train").transposition is None  # for a command that does not train
        task.build_model(OmegaConf.structured(MuseformerConfig(_name="museformer", **sizes)))
        for split in ("train", "valid", "test"):
            task.load_dataset(split)
            found = task.dataset(split).transposition
            assert (found is not None) == (transpose_train and split == "train")
    tokens = torch.tensor([task.dictionary.index("p-60")])
    orders = []
    for seed in (5, 6):
        task = set_up(transpose_train=True, **{**options, "seed": seed})
        task.build_model(OmegaConf.structured(MuseformerConfig(_name="museformer", **sizes)))
        task.load_dataset("train")
        orders.append([task.dataset("train").transposition.shift(0, tokens, epoch) for epoch in range(1, 13)])
    assert orders[0] != orders[1]


@pytest.mark.parametrize("option", ["truncate_train", "truncate_valid", "truncate_test", "prompt_bars", "streams"])
def test_negative_numbers_are_refused(set_up, option):
    with pytest.raises(UserError, match=f"--{option.replace('_', '-')} must be 0 or more, not -1"):
        set_up(**{option: -1})


def test_a_missing_folder_is_told(set_up, tmp_path):
    with pytest.raises(UserError, match="There is no dictionary at .*nowhere/dict.txt"):
        set_up(data=str(tmp_path / "nowhere"))


def test_no_folder_is_told(set_up):
    with pytest.raises(UserError, match="Name the data folder"):
        set_up(data="")


@pytest.mark.parametrize("text", ["b-0\n", "b-0 0\nb-0 0\n", "b-0 zero\n", b"\xff\xfe\x00"], ids=repr)
def test_a_file_that_is_no_dictionary_is_told(set_up, data_folder, text):
    (data_folder / "dict.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match="is not a fairseq dictionary"):
        set_up()


def test_a_missing_split_is_told(set_up):
    with pytest.raises(UserError, match="There is no 'valid2' data at .*--valid2pref"):
        set_up().load_dataset("valid2")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("t-30 o-0 p-60 d-5 v-20 b-1", "token 3: p-60 may not come here"),
        ("t-30 o-0 i-80 p-60 d-5 v-20", "the piece stops after token 6 without b-1"),
        ("t-30 b-1 hello b-1", "token 3: '<unk>' is not a token"),
        ("t-30 o-8 i-80 p-60 d-5 v-20 o-3 i-80 p-60 d-5 v-20 b-1", "token 7: o-3 may not come here"),
        ("t-30 o-60 i-80 p-60 d-5 v-20 b-1", "token 2: o-60 may not come here"),
        ("t-30 o-0 i-128 p-60 d-5 v-20 b-1", "token 4: p-60 may not come here"),
        ("", "it is empty"),
    ],
    ids=["family", "open_bar", "unknown", "onsets_fall", "onset_past_the_bar", "drum_pitch", "empty"],
)
def test_a_piece_that_breaks_the_grammar_is_told(set_up, data_folder, piece_lines, dictionary_of, line, sentence):
    write_split(data_folder, "valid", [piece_lines["valid"][0], line], dictionary_of("six_track"))
    with pytest.raises(UserError, match=f"Piece 2 of 'valid' breaks the grammar of six_track: {sentence}"):
        set_up().load_dataset("valid")
    set_up(no_grammar=True).load_dataset("valid")


def test_pieces_too_long_for_a_batch_are_told_or_left_out(set_up):
    task = set_up()
    task.load_dataset("train")
    dataset = task.dataset("train")
    indices = dataset.ordered_indices()
    second, longest = sorted(dataset.sizes.tolist())[-2:]
    assert len(task.filter_indices_by_size(indices, dataset, longest)) == 13
    with pytest.raises(UserError, match=f"1 pieces are longer than the {second} tokens .* longest has {longest}"):
        task.filter_indices_by_size(indices, dataset, second)
    assert len(task.filter_indices_by_size(indices, dataset, second, ignore_invalid_inputs=True)) == 12
    with pytest.raises(UserError, match="^13 pieces are longer than the 3 tokens .*: none is left"):
        task.filter_indices_by_size(indices, dataset, 3, ignore_invalid_inputs=True)
    with pytest.raises(UserError, match="raise --max-tokens or --tokens-per-sample or shorten"):  # no model of ours
        task.filter_indices_by_size(indices, dataset, second)


def test_typed_lines_become_prompts(set_up):
    task = set_up()
    lines = ["", "t-30 b-1", "t-30 o-0 i-80"]
    pieces, lengths = task.get_interactive_tokens_and_lengths(lines, lambda line: line)
    eos = task.dictionary.eos()
    words = [[task.dictionary[entry] for entry in piece[:-1].tolist()] for piece in pieces]
    assert words == [line.split() for line in lines]
    assert all(piece[-1] == eos for piece in pieces)
    assert lengths == [1, 3, 4]
    dataset = task.build_dataset_for_inference(pieces, lengths)
    batch = dataset.collater([dataset[n] for n in range(3)])
    assert batch["prompt_lengths"].tolist() == [1, 3, 4]


@pytest.mark.parametrize(
    ("options", "line", "sentence"),
    [
        ({}, "b-1", "Input line 2 breaks the grammar: token 1: b-1 may not come here"),
        ({}, "t-30 o-0 i-81", "Input line 2 breaks the grammar: token 3: i-81 may not come here"),
        ({"no_grammar": True}, "t-30 hello", "Input line 2, token 2: 'hello' is not in the dictionary"),
    ],
    ids=["order", "instrument", "without_grammar"],
)
def test_typed_lines_that_are_no_prompts(set_up, options, line, sentence):
    with pytest.raises(UserError, match=sentence):
        set_up(**options).get_interactive_tokens_and_lengths(["", line], lambda line: line)


def test_constraints_are_not_offered(set_up):
    with pytest.raises(UserError, match="--constraints is not offered"):
        set_up().build_dataset_for_inference([torch.tensor([2])], [1], constraints=torch.ones(1))


def test_the_generator_follows_the_options(set_up, build_decoder):
    model = MuseformerLanguageModel(build_decoder())
    options = generation(beam=3, min_len=5, max_len_b=50, temperature=0.9)
    generator = set_up(streams=2).build_generator([model], options)
    assert isinstance(generator, MuseformerGenerator)
    assert (generator.pieces_per_prompt, generator.at_once) == (3, 2)
    assert (generator.rules.min_len, generator.rules.max_len) == (5, 50)
    assert (generator.options.topk, generator.options.temperature, generator.rules.grammar) == (8, 0.9, True)
    assert not set_up(no_grammar=True).build_generator([model], generation()).rules.grammar


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"sampling": False, "beam": 4}, "Beam search is not offered"),
        ({"max_len_a": 1.2}, "--max-len-a is not offered"),
        ({"temperature": 0.0}, "--temperature must be positive, not 0.0"),
        ({"temperature": -1.0}, "--temperature must be positive"),
        ({"min_len": 300}, "--min-len 300 and --max-len-b 200 must satisfy"),
        ({"min_len": -1}, "must satisfy 0 <= min <= max"),
        ({"max_len_b": 6}, "at least 7"),
        ({"constraints": "ordered"}, "--constraints is not offered"),
        ({"diverse_beam_groups": 2}, "--diverse-beam-groups is not offered"),
        ({"diversity_rate": 0.5}, "--diversity-rate is not offered"),
        ({"match_source_len": True}, "--match-source-len is not offered"),
        ({"no_repeat_ngram_size": 3}, "--no-repeat-ngram-size is not offered"),
        ({"print_alignment": "hard"}, "--print-alignment is not offered"),
        ({"print_step": True}, "--print-step is not offered"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_searches_that_are_not_offered(set_up, build_decoder, options, sentence):
    with pytest.raises(UserError, match=sentence):
        set_up().build_generator([MuseformerLanguageModel(build_decoder())], generation(**options))


def test_several_checkpoints_are_not_offered(set_up, build_decoder):
    models = [MuseformerLanguageModel(build_decoder(seed=seed)) for seed in (0, 1)]
    with pytest.raises(UserError, match="Several checkpoints in --path are not offered"):
        set_up().build_generator(models, generation())


def test_a_second_language_model_is_not_offered(set_up, build_decoder):
    model = MuseformerLanguageModel(build_decoder())
    with pytest.raises(UserError, match="--lm-path is not offered"):
        set_up().build_generator([model], generation(), extra_gen_cls_kwargs={"lm_model": model, "lm_weight": 1.0})


def test_pieces_have_any_length(set_up):
    assert set_up().max_positions() is None


def test_sizes_are_known_without_reading_pieces(set_up):
    task = set_up()
    task.load_dataset("train")
    dataset = task.dataset("train")
    assert dataset.sizes.tolist() == [len(dataset[n]["target"]) for n in range(len(dataset))]
    assert np.issubdtype(dataset.sizes.dtype, np.integer)
