"""Transformer-XL (Dai et al. 2019, arXiv 1901.02860): segments with a memory, and distances as sinusoids.

    softmax((q_i k_j + q_i W_R R_(i - j) + u k_j + v W_R R_(i - j)) / sqrt(Dh)) values

Token i attends to its segment so far and to the last tokens before it, the memory, whose keys and values are made of
rows without gradient: the gradient reaches the matrices that make them and goes no farther back. W_R, u and v are
each layer's own.

Segments are counted from the begin token of a piece, or of a window in training, where the memory is empty. Since a
batch holds whole pieces, all their segments are read at once, layer by layer, and the memory is that of the weights of
today, where the paper's, which reads one segment an update, is a few updates old. There is no dropout on R.

With positions that turn queries and keys, u is added before the turn, and what R is multiplied by is not turned.
"""

# No postponed annotations here: fairseq reads the types of dataclass fields as they stand.

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from fairseq.data import Dictionary
from fairseq.models import register_model
from torch import Tensor, nn

from ..errors import UserError
from ..fc_attention.relative import Segments
from ..layer import HiddenMatrices
from .options import BarAwareConfig, BarAwareLanguageModel, register_presets
from .relative_attention import RelativeDecoder, RelativeLayer


@dataclass
class TransformerXLConfig(BarAwareConfig):
    """Options of the model."""

    decoder_ffn_embed_dim: int = field(default=2432, metadata={"help": "inner width of the feed-forward"})
    segment_tokens: int = field(default=512, metadata={"help": "tokens of a segment"})
    memory_tokens: int = field(
        default=512, metadata={"help": "how many tokens before its segment a token attends to, without gradient"}
    )


def sinusoids(count: int, width: int, device: torch.device) -> Tensor:
    """R of the distances 0 to ``count - 1``: sin(d f_k), then cos(d f_k), f_k = 10000^(-2 k / width); float32."""
    frequencies = 10000 ** (-torch.arange(0, width, 2, dtype=torch.float32, device=device) / width)
    angles = torch.arange(count, dtype=torch.float32, device=device)[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)[:, :width]


class TransformerXLLayer(RelativeLayer):
    """See ``RelativeLayer``."""

    def __init__(self, width: int, heads: int, *sizes: Any, segments: Segments) -> None:
        super().__init__(width, heads, *sizes, segments=segments)
        self.distance_weight = nn.Parameter(torch.empty(width, width))  # W_R
        nn.init.xavier_uniform_(self.distance_weight)
        self.distance_weight.param_group = HiddenMatrices()
        self.content_bias = nn.Parameter(torch.zeros(heads, width // heads))  # u
        self.distance_bias = nn.Parameter(torch.zeros(heads, width // heads))  # v

    def table(self, count: int) -> Tensor:
        """See ``RelativeLayer``."""
        weight = self.distance_weight
        rows = F.linear(sinusoids(count, len(weight), weight.device).to(weight.dtype), weight)
        return rows.view(count, self.heads, -1).transpose(0, 1)

    def queries(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """See ``RelativeLayer``."""
        return q + self.content_bias, q + self.distance_bias


class TransformerXLDecoder(RelativeDecoder):
    """Raises UserError for options that do not fit together."""

    def __init__(self, cfg: TransformerXLConfig, dictionary: Dictionary) -> None:
        if cfg.segment_tokens < 1:
            raise UserError(f"--segment-tokens must be 1 or more, not {cfg.segment_tokens}.")
        if cfg.memory_tokens < 0:
            raise UserError(f"--memory-tokens must be 0 or more, not {cfg.memory_tokens}.")
        super().__init__(cfg, dictionary, TransformerXLLayer, Segments(cfg.segment_tokens, cfg.memory_tokens))

    def facts(self) -> dict[str, str]:
        """See ``BarAwareModel``."""
        return {"segment": f"{self._segments.tokens:,} tokens", "memory": f"{self._segments.memory:,} tokens"}


@register_model("transformer_xl", dataclass=TransformerXLConfig)
class TransformerXLLanguageModel(BarAwareLanguageModel):
    """Transformer-XL as fairseq builds it."""

    decoder_class = TransformerXLDecoder


register_presets("transformer_xl", ffn_widths={128: 608, 192: 912})
