"""FC-attention as an operator on tensors: fine-grained over some bars, coarse-grained over the others.

PyTorch and Triton only; knows neither fairseq nor music. ``fc_attention`` is the one public call,
``BarLayout`` says where bars lie, ``BarCache`` holds the state of incremental decoding.
"""

from .api import fc_attention
from .cache import BarCache
from .layout import BarLayout, PieceBars

__all__ = ["BarCache", "BarLayout", "PieceBars", "fc_attention"]
