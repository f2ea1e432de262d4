"""FC-attention as an operator on tensors: fine-grained over some bars, coarse-grained over the others.

PyTorch and Triton only; knows neither fairseq nor music. ``fc_attention`` attends to bars, of which ``BarLayout`` says
where they lie, ``attention`` to the rows of any ``AttentionPlan``; ``BarCache`` holds the state of decoding.
"""

from .api import attention, fc_attention
from .cache import BarCache
from .layout import BarLayout
from .piece_bars import NO_BAR, PieceBars, UpcomingBar, repeat_distances
from .plan import AttentionPlan, Segment

__all__ = [
    "NO_BAR",
    "AttentionPlan",
    "BarCache",
    "BarLayout",
    "PieceBars",
    "Segment",
    "UpcomingBar",
    "attention",
    "fc_attention",
    "repeat_distances",
]
