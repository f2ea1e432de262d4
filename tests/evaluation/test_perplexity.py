"""Perplexity against fairseq's own command, on a model that fairseq trained."""

import re

import numpy as np
import pytest

from data_prep.command import CommandError
from evaluation.bootstrap import Bootstrap
from evaluation.data_bin import Split
from evaluation.perplexity import Losses, load_model, measure_losses

LENGTHS = (30, 90, 100_000)


@pytest.fixture(scope="module")
def losses(checkpoint, data_bin):
    return measure_losses(load_model(checkpoint, data_bin), "test", LENGTHS)


@pytest.mark.parametrize("column", [0, 1], ids=map(str, LENGTHS[:2]))
def test_agrees_with_fairseq_validate_at_every_length(losses, column, must_run, checkpoint, data_bin, task_options):
    arguments = ["--path", checkpoint, "--valid-subset", "test", "--batch-size", 3]
    printed = must_run("fairseq-validate", data_bin, *task_options, *arguments, "--truncate-test", LENGTHS[column])
    loss, perplexity = re.findall(r"\| loss ([\d.]+) \| ppl ([\d.]+)", printed)[-1]
    assert float(loss) == round(losses.bits_per_token(column), 3)
    assert float(perplexity) == round(losses.perplexity(column, Bootstrap()).value, 2)


def test_pieces_are_cut_or_whole(losses, piece_lines):
    sizes = np.array([len(line.split()) + 1 for line in piece_lines["test"]])  # and the end
    assert sizes.min() < 90 < sizes.max()
    np.testing.assert_array_equal(losses.tokens, np.minimum(sizes[:, np.newaxis], [*LENGTHS, 10**9]))


def test_the_first_tokens_alone_are_read_where_asked(losses, checkpoint, data_bin):
    cut = measure_losses(load_model(checkpoint, data_bin, LENGTHS[1]), "test", LENGTHS[:2])
    assert (losses.names, cut.names) == (("30", "90", "100000", "whole"), ("30", "90"))
    np.testing.assert_allclose(cut.bits, losses.bits[:, :2], rtol=1e-6)
    np.testing.assert_array_equal(cut.tokens, losses.tokens[:, :2])
    assert max(map(len, cut.token_bits)) == 90


def test_perplexity_by_hand():
    losses = Losses((4,), np.array([[4.0], [10.0]]), np.array([[4], [3]]))
    assert losses.bits_per_token(0) == 2
    assert losses.perplexity(0, Bootstrap()).value == 4


def test_facts_name_the_model(checkpoint, data_bin):
    facts = load_model(checkpoint, data_bin).facts
    assert (facts["updates"], facts["architecture"]["structure bars"]) == (3, "1,2")
    assert (facts["training_seed"], facts["parameters"] > 10_000) == (7, True)


def test_split_gives_the_lines_back(data_bin, piece_lines):
    split = Split(data_bin, "test")
    assert list(split) == piece_lines["test"]
    assert split.line(2) == piece_lines["test"][2]
    with pytest.raises(CommandError, match="holds no 'other' pieces"):
        Split(data_bin, "other")


def test_broken_and_foreign_checkpoints_are_told(tmp_path, checkpoint, data_bin):
    with pytest.raises(CommandError, match="There is no checkpoint"):
        load_model(tmp_path / "absent.pt", data_bin)
    (tmp_path / "cut.pt").write_bytes(checkpoint.read_bytes()[:-5000])
    with pytest.raises(CommandError, match="truncated or not a checkpoint"):
        load_model(tmp_path / "cut.pt", data_bin)


def test_a_foreign_dictionary_is_told(tmp_path, checkpoint, representations):
    (tmp_path / "dict.txt").write_text(representations["general"].dict_txt())
    with pytest.raises(CommandError, match="another dictionary"):
        load_model(checkpoint, tmp_path)


def test_pieces_longer_than_the_model_reads_are_told(checkpoint, data_bin, monkeypatch):
    loaded = load_model(checkpoint, data_bin)
    monkeypatch.setattr(loaded.model, "max_positions", lambda: 90)
    with pytest.raises(CommandError, match="test: a piece has 120 tokens, and the model reads 90 at most"):
        measure_losses(loaded, "test", LENGTHS)
