"""Architectures, one a file: to import this registers them with fairseq.

``protocol`` is what task, dataset, generator and evaluation know of them; ``decoder`` and ``options`` are what they
share.
"""

from . import (  # noqa: F401  (registers them)
    full_attention,
    linear_transformer,
    longformer,
    museformer,
    music_transformer,
    sparse_transformer,
    transformer_xl,
)
