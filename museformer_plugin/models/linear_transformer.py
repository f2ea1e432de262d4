"""Linear Transformer (Katharopoulos et al. 2020, arXiv 2006.16236): attention by a kernel, with a state of one size.

With phi(x) = elu(x) + 1, number by number, a token i receives of itself and the tokens j before it::

    y_i = sum_j (phi(q_i) . phi(k_j)) v_j / sum_j phi(q_i) . phi(k_j)

so that all that later tokens need is the sum of phi(k_j) v_j^T, [H, Dh, Dh], and that of phi(k_j), [H, Dh]. Training
works in chunks: inside one by a masked product, of those before it by the sum. Rotary positions turn phi(q) and phi(k)
above the line alone (Su et al. 2021, arXiv 2104.09864, eq. 19), since below it products must stay positive.

There are no attention weights to drop: ``--attention-dropout`` has no effect.
"""

# No postponed annotations here: fairseq reads the types of dataclass fields as they stand.

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from fairseq.data import Dictionary
from fairseq.models import register_model
from torch import Tensor

from ..fc_attention import PieceBars, UpcomingBar
from ..layer import BarAwareLayer
from ..rotary import Turn, turn
from .decoder import BarAwareDecoder, Keep
from .full_attention import make_inputs
from .options import FFN_WITHOUT_SUMMARIES, BarAwareLanguageModel, WithoutSummariesConfig, register_presets

_CHUNK = 64  # tokens
_SMALLEST = 1e-20  # what is divided by, where all features are next to 0; the authors add 1e-6 everywhere


def features(rows: Tensor) -> Tensor:
    """elu(x) + 1 as max(x, 0) + e^min(x, 0), which does not round to 0; float32 where ``rows`` are narrower."""
    rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
    return rows.relu() + rows.clamp(max=0).exp()


def causal_sums(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Of each token i of a piece sum_{j <= i} (q_i . k_j) v_j: [n, H, Dh] each -> [n, H, Dh]; memory linear in n."""
    length = len(q)
    chunk = min(_CHUNK, length)
    padding = -length % chunk
    # [chunks, H, tokens of a chunk, Dh]; rows of 0 add nothing
    q, k, v = (F.pad(rows, (0, 0, 0, 0, 0, padding)).unflatten(0, (-1, chunk)).transpose(1, 2) for rows in (q, k, v))
    with torch.autocast(q.device.type, enabled=False):  # which would round the sums to half precision
        inside = (q @ k.mT).tril() @ v
        sums = k.mT @ v
        before = torch.cat([torch.zeros_like(sums[:1]), sums[:-1].cumsum(0)])
        found = inside + q @ before
    return found.transpose(1, 2).flatten(0, 1)[:length]


class LinearLayer(BarAwareLayer):
    """Linear attention, piece by piece, and feed-forward; sums are float32 or wider."""

    def forward(self, x: Tensor, lengths: list[int], by: Turn | None = None, keep: Keep | None = None) -> Tensor:
        """Tokens x [T, D] of pieces of ``lengths`` -> [T, D]; ``keep`` receives what a ``LinearState`` adds up."""
        q, turned_q, k, turned_k, v = self._rows(x, by)
        if keep is not None:
            keep(torch.stack([k, turned_k, v], 1), None)
        summed = [causal_sums(*piece) for piece in zip(*(rows.split(lengths) for rows in (turned_q, turned_k, v)))]
        weights = torch.cat([piece.cumsum(0) for piece in k.split(lengths)])
        return self.finish(x, _mean(torch.cat(summed), q, weights).to(x.dtype))

    def step(self, x: Tensor, cache: "LinearState", layer: int, visible: None, by: Turn | None = None) -> Tensor:
        """See ``BarAwareLayer``; ``attend`` takes queries and keys both ways, as ``LinearState`` says."""
        q, turned_q, k, turned_k, v = self._rows(x, by)
        attended = cache.attend(layer, torch.stack([q, turned_q]), torch.stack([k, turned_k]), v, visible)
        return self.finish(x, attended.to(x.dtype))

    def _rows(self, x: Tensor, by: Turn | None) -> tuple[Tensor, ...]:
        """Features of queries, the same turned, features of keys, the same turned, and values: [n, H, Dh] each."""
        q, k, v = self.qkv(x, self.projections.token_bias, None)
        q, k = features(q), features(k)
        turned_q, turned_k = (q, k) if by is None else (turn(q, by.queries), turn(k, by.keys))
        return q, turned_q, k, turned_k, v.to(q.dtype)


def _mean(summed: Tensor, q: Tensor, weights: Tensor) -> Tensor:
    """The fraction: its upper part and, for the lower, queries and the sum of keys, [n, H, Dh] each."""
    return summed / (q * weights).sum(-1, keepdim=True).clamp(min=_SMALLEST)


class LinearState:
    """An ``AttentionCache`` that does not grow: of each layer, stream and head the sums over all tokens read.

    ``sums`` [L, B, H, Dh, Dh] of turned keys times values, ``weights`` [L, B, H, Dh] of keys; None without streams.
    """

    padded = False

    def __init__(self) -> None:
        self.sums: Tensor | None = None
        self.weights: Tensor | None = None

    def add_stream(self, rows: Tensor) -> None:
        """Begin a stream with a prompt read at once: its keys, turned keys and values [L, 3, H, n, Dh]."""
        k, turned_k, v = rows.unbind(1)
        sums, weights = (turned_k.mT @ v)[:, None], k.sum(2)[:, None]
        self.sums = sums if self.sums is None else torch.cat([self.sums, sums], 1)
        self.weights = weights if self.weights is None else torch.cat([self.weights, weights], 1)

    def begin_step(self) -> None:
        """There is always memory."""

    def visible(self) -> None:
        """All is seen."""

    def advance(self) -> None:
        """Nothing is counted."""

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, visible: None) -> Tensor:
        """Add the new token and attend: features q, k [2, B, H, Dh], as they are and turned; v, result [B, H, Dh]."""
        sums, weights = self.sums[layer], self.weights[layer]
        sums += k[1].unsqueeze(-1) * v.unsqueeze(-2)
        weights += k[0]
        return _mean((q[1].unsqueeze(-2) @ sums).squeeze(-2), q[0], weights)

    def end_step(self) -> None:
        """Nothing is left to be done."""

    def select(self, indices: Sequence[int]) -> None:
        """Keep these streams, in this order, with repeats; for the identity nothing moves."""
        if list(indices) != list(range(self.sums.shape[1])):
            self.sums, self.weights = self.sums[:, indices], self.weights[:, indices]

    def put(self, index: int, entering: "LinearState") -> None:
        """Let the one stream of ``entering``, which stays as it is, take the place of ``index``."""
        self.sums[:, index] = entering.sums[:, 0]
        self.weights[:, index] = entering.weights[:, 0]


class LinearTransformerDecoder(BarAwareDecoder):
    """Raises UserError for options that do not fit together."""

    def __init__(self, cfg: WithoutSummariesConfig, dictionary: Dictionary) -> None:
        super().__init__(cfg, dictionary, LinearLayer, make_inputs)

    def facts(self) -> dict[str, str]:
        """See ``BarAwareModel``."""
        return {"attention": "linear, to all earlier tokens by their sum"}

    def empty_cache(self, on_gpu: bool, expected: int) -> LinearState:
        """See ``BarAwareDecoder``."""
        return LinearState()

    def add_stream(
        self,
        cache: LinearState,
        bars: PieceBars,
        token_rows: Tensor,
        summary_rows: None,
        upcoming: Sequence[UpcomingBar],
    ) -> None:
        """See ``BarAwareDecoder``; ``token_rows`` are [L, 3, H, n, Dh] here."""
        cache.add_stream(token_rows)


@register_model("linear_transformer", dataclass=WithoutSummariesConfig)
class LinearTransformerLanguageModel(BarAwareLanguageModel):
    """A Linear Transformer as fairseq builds it."""

    decoder_class = LinearTransformerDecoder


register_presets("linear_transformer", FFN_WITHOUT_SUMMARIES)
