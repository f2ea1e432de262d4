"""Music Transformer (Huang et al. 2018, arXiv 1809.04281): attention to all earlier tokens with learned distances.

    softmax((q_i k_j + q_i r_min(i - j, max - 1)) / sqrt(Dh)) v

r [H, max, Dh] is each layer's own; its products with queries are skewed (``fc_attention/relative.py``). With positions
that turn queries and keys, the queries that r is multiplied by are not turned.
"""

# No postponed annotations here: fairseq reads the types of dataclass fields as they stand.

import sys
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from fairseq.data import Dictionary
from fairseq.models import register_model
from torch import Tensor, nn

from ..errors import UserError
from ..fc_attention.relative import Segments
from .options import BarAwareConfig, BarAwareLanguageModel, register_presets
from .relative_attention import RelativeDecoder, RelativeLayer


@dataclass
class MusicTransformerConfig(BarAwareConfig):
    """Options of the model."""

    decoder_ffn_embed_dim: int = field(default=2432, metadata={"help": "inner width of the feed-forward"})
    max_relative_distance: int = field(
        default=512, metadata={"help": "how many distances, in tokens, have vectors; farther tokens share the last"}
    )


class MusicTransformerLayer(RelativeLayer):
    """``num_distances``: how many have vectors of their own."""

    def __init__(self, width: int, heads: int, *sizes: Any, num_distances: int, segments: Segments) -> None:
        super().__init__(width, heads, *sizes, segments=segments)
        head_width = width // heads
        self.distances = nn.Parameter(torch.randn(heads, num_distances, head_width) * head_width**-0.5)

    def table(self, count: int) -> Tensor:
        """See ``RelativeLayer``."""
        return self.distances[:, :count]


class MusicTransformerDecoder(RelativeDecoder):
    """Raises UserError for options that do not fit together."""

    def __init__(self, cfg: MusicTransformerConfig, dictionary: Dictionary) -> None:
        count = cfg.max_relative_distance
        if count < 1:
            raise UserError(f"--max-relative-distance must be 1 or more, not {count}.")
        whole_piece = Segments(sys.maxsize, memory=0)
        super().__init__(cfg, dictionary, partial(MusicTransformerLayer, num_distances=count), whole_piece)
        self._facts = {"attention": "to all earlier tokens", "relative distances": f"{count:,} tokens, then clipped"}

    def facts(self) -> dict[str, str]:
        """See ``BarAwareModel``."""
        return self._facts


@register_model("music_transformer", dataclass=MusicTransformerConfig)
class MusicTransformerLanguageModel(BarAwareLanguageModel):
    """Music Transformer as fairseq builds it."""

    decoder_class = MusicTransformerDecoder


register_presets("music_transformer", ffn_widths={128: 432})
