"""All that a new architecture takes, as docs/architecture.md has it: here tokens see themselves and the one before."""

import contextlib
import re
from unittest import mock

import numpy as np
import pytest
import torch
from fairseq import models
from fairseq.models import register_model

from data_prep.tokens.grammar import check_piece
from data_prep.tokens.vocabulary import SIX_TRACK
from museformer_plugin.fc_attention import AttentionPlan
from museformer_plugin.fc_attention.gathering_cache import SeenByHeads
from museformer_plugin.models.options import BarAwareConfig, BarAwareLanguageModel, register_presets
from museformer_plugin.models.planned_attention import HeadPlan, PlannedDecoder

ALL_HEADS = slice(None)


def make_plans(lengths):
    return (HeadPlan(ALL_HEADS, AttentionPlan.sliding(lengths, 2)),)


def rows_seen(row):
    return np.arange(max(0, row - 1), row + 1)


class PairDecoder(PlannedDecoder):
    def __init__(self, cfg, dictionary):
        super().__init__(cfg, dictionary, make_plans, [SeenByHeads(ALL_HEADS, rows_seen)])

    def facts(self):
        return {"attention": "to the token before"}


@pytest.fixture
def registered():
    """The name under which fairseq knows the architecture, for as long as a test runs."""
    with contextlib.ExitStack() as registries:
        for name, registry in vars(models).items():
            if name.endswith("_REGISTRY"):
                registries.enter_context(mock.patch.dict(registry))

        @register_model("pairs", dataclass=BarAwareConfig)
        class PairLanguageModel(BarAwareLanguageModel):
            decoder_class = PairDecoder

        register_presets("pairs")
        yield "pairs"


def test_it_trains_scores_and_writes(registered, run_here, tmp_path):
    training = ["--optimizer", "muon", "--lr", 0.02, "--max-update", 2, "--max-tokens", 150, "--save-dir", tmp_path]
    windows = ["--window-tokens", "40,120", "--window-updates", 1, "--disable-validation"]
    run_here("fairseq-train", "--arch", f"{registered}_rotary_tiny", *training, *windows, "--num-workers", 0)
    trained = ["--path", tmp_path / "checkpoint_last.pt", "--gen-subset", "test", "--num-workers", 0]
    bits = float(re.search(r"Loss \(base 2\): ([\d.]+)", run_here("fairseq-eval-lm", *trained))[1])
    assert bits > 1
    printed = run_here("fairseq-generate", *trained, "--sampling", "--beam", 1, "--max-len-b", 60, "--batch-size", 3)
    pieces = re.findall(r"^H-\d+\t\S+\t(.*)$", printed, flags=re.MULTILINE)
    assert len(pieces) == 3
    for piece in pieces:
        check_piece(piece.split(), SIX_TRACK)


@torch.no_grad()
def test_what_tests_build_by_its_name_reads_token_by_token_as_at_once(registered, build_decoder, read_piece):
    decoder = build_decoder(architecture=registered)
    tokens = read_piece("six_track", bars=3, seed=0)
    logits, streams = decoder.read_prompts([tokens[:1]])
    found = torch.cat([logits[0], *(decoder.step(token[None], streams) for token in tokens[1:])])
    torch.testing.assert_close(found, decoder(tokens[None])[0][0], rtol=0, atol=1e-11)
