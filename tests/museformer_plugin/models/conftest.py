"""What the tests of the architectures share."""

import pytest
import torch


@pytest.fixture
def assert_is_defined_by(build_decoder, read_piece, monkeypatch):
    """A function that compares logits and all gradients with those when ``definition`` stands for a layer of ours.

    ``layer``: the module and the name of the class; ``pieces``: the bars of each piece of the batch.
    """

    def check(layer, definition, *, pieces=(5, 1, 8), **options):
        read = [read_piece("general", bars, seed=bars) for bars in pieces]
        tokens = torch.nn.utils.rnn.pad_sequence(read, batch_first=True, padding_value=1)

        def logits_and_gradients():
            decoder = build_decoder("general", **options)
            logits = decoder(tokens)[0]
            return logits, *torch.autograd.grad(logits.square().mean(), list(decoder.parameters()))

        ours = logits_and_gradients()
        monkeypatch.setattr(*layer, definition)
        for found, expected in zip(ours, logits_and_gradients(), strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)

    return check
