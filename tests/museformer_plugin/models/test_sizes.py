"""The sizes of the architectures are alike: comparisons are of what they do, not of how large they are."""

from argparse import Namespace
from types import SimpleNamespace

import pytest
import torch
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY, MODEL_DATACLASS_REGISTRY

from tests.architectures import ARCHITECTURES

SIZES = ["", "_tiny", "_rotary", "_rotary_small", "_rotary_tiny"]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("model", sorted({*ARCHITECTURES} - {"museformer"}))
def test_parameters_are_as_many_as_museformers(dictionary_of, model, size):
    def parameters_of(model):
        given = Namespace()
        ARCH_CONFIG_REGISTRY[model + size](given)
        config = MODEL_DATACLASS_REGISTRY[model]
        options = {name: value for name, value in vars(given).items() if name in config.__dataclass_fields__}
        task = SimpleNamespace(target_dictionary=dictionary_of("six_track"))
        with torch.device("meta"):
            built = ARCH_MODEL_REGISTRY[model + size].build_model(config(**options), task)
        return sum(parameter.numel() for parameter in built.parameters())

    assert parameters_of(model) == pytest.approx(parameters_of("museformer"), rel=0.05)
