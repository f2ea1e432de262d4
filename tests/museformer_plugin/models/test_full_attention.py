"""Full attention is what its definition says, gradients too; that it is causal and so on is in test_decoder.py."""

import pytest
import torch

from museformer_plugin.layer import BarAwareLayer
from museformer_plugin.models import full_attention


class DefinedLayer(BarAwareLayer):
    """softmax(q k^T / sqrt(Dh)) v with a mask over the whole batch: of the same piece, and not later."""

    def forward(self, x, lengths, by=None, keep=None):
        q, k, v = (rows.transpose(0, 1) for rows in self.qkv(x, self.projections.token_bias, by))
        piece = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
        seen = (piece[:, None] == piece[None]) & torch.ones(len(x), len(x), dtype=torch.bool).tril()
        scores = (q @ k.mT / q.shape[2] ** 0.5).masked_fill(~seen, -torch.inf)
        return self.finish(x, (scores.softmax(2) @ v).transpose(0, 1))


@pytest.mark.parametrize(
    "options", [{}, {"positions": "rotary", "qk_norm": True, "previous_tokens": 3}], ids=["embedded", "rotary"]
)
def test_logits_and_gradients_are_those_of_the_definition(assert_is_defined_by, options):
    layer = full_attention, "FullAttentionLayer"
    assert_is_defined_by(layer, DefinedLayer, architecture="full_attention", **options)


def test_it_has_the_parameters_of_museformer_without_summaries(build_decoder):
    ours = build_decoder(architecture="full_attention").state_dict()
    museformers = build_decoder(no_coarse_attention=True).state_dict()
    assert {name: tensor.shape for name, tensor in ours.items()} == {
        name: tensor.shape for name, tensor in museformers.items()
    }
