"""Full attention (Vaswani et al. 2017, arXiv 1706.03762), causal: token i attends to itself and to all before it.

    softmax(q_i k_j / sqrt(Dh)) v_j, over all j up to i

Embeddings and layers are those of the other architectures, and there is no structure.
"""

# No postponed annotations here: fairseq reads the types of dataclass fields as they stand.

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from fairseq.data import Dictionary
from fairseq.models import register_model
from torch import Tensor

from ..fc_attention import BarCache, PieceBars, UpcomingBar
from ..feeding import FedInputs
from ..layer import BarAwareLayer
from ..positions import Positions
from ..rotary import Turn
from ..token_families import TokenFamilies
from .decoder import BarAwareDecoder, Keep
from .options import FFN_WITHOUT_SUMMARIES, BarAwareLanguageModel, WithoutSummariesConfig, register_presets


@dataclass(frozen=True)
class FullAttentionInputs(FedInputs):
    """``positions`` NumPy [T], ``lengths`` of the pieces."""

    positions: Positions
    lengths: list[int]


def make_inputs(
    families: TokenFamilies, pieces: Sequence[np.ndarray], bars: Sequence[PieceBars]
) -> FullAttentionInputs:
    """``MakeInputs`` but for the first argument."""
    positions = Positions.joined([families.positions(*piece) for piece in zip(pieces, bars)])
    return FullAttentionInputs(positions, [len(piece) for piece in pieces])


class FullAttentionLayer(BarAwareLayer):
    """PyTorch's attention over everything, piece by piece, and feed-forward."""

    def forward(self, x: Tensor, lengths: list[int], by: Turn | None = None, keep: Keep | None = None) -> Tensor:
        """Tokens x [T, D] of pieces of ``lengths`` -> [T, D]; ``keep`` receives keys and values [T, 2, H, Dh]."""
        q, k, v = self.qkv(x, self.projections.token_bias, by)
        if keep is not None:
            keep(torch.stack([k, v], 1), None)
        dropout = self.attention_dropout if self.training else 0.0
        heads_first = (rows.transpose(0, 1).split(lengths, dim=1) for rows in (q, k, v))  # each [H, n, Dh]
        attended = [
            F.scaled_dot_product_attention(*(rows[None] for rows in piece), dropout_p=dropout, is_causal=True)[0]
            for piece in zip(*heads_first)
        ]
        return self.finish(x, torch.cat(attended, dim=1).transpose(0, 1))


class FullAttentionDecoder(BarAwareDecoder):
    """Raises UserError for options that do not fit together."""

    def __init__(self, cfg: WithoutSummariesConfig, dictionary: Dictionary) -> None:
        super().__init__(cfg, dictionary, FullAttentionLayer, make_inputs)

    def facts(self) -> dict[str, str]:
        """See ``BarAwareModel``."""
        return {"attention": "to all earlier tokens"}

    def empty_cache(self, on_gpu: bool, expected: int) -> BarCache:
        """See ``BarAwareDecoder``. To the cache a piece is one bar, which never ends."""
        return BarCache((), coarse=False, padded=on_gpu, expected=expected)

    def add_stream(
        self, cache: BarCache, bars: PieceBars, token_rows: Tensor, summary_rows: None, upcoming: Sequence[UpcomingBar]
    ) -> None:
        """See ``BarAwareDecoder``."""
        starts = np.arange(1, min(2, bars.num_tokens))
        cache.add_stream(PieceBars(bars.num_tokens, starts, num_complete=0), token_rows, None)


@register_model("full_attention", dataclass=WithoutSummariesConfig)
class FullAttentionLanguageModel(BarAwareLanguageModel):
    """Full attention as fairseq builds it."""

    decoder_class = FullAttentionDecoder


register_presets("full_attention", FFN_WITHOUT_SUMMARIES)
