"""The public calls: ``fc_attention`` over bars, ``attention`` over the rows of any plan.

Letters: T tokens of a batch laid end to end, N summaries (complete bars), H heads, Dh head width.
"""

from __future__ import annotations

from torch import Tensor

from .backends import backend_for
from .layout import BarLayout
from .plan import AttentionPlan
from .summaries import PlaceKeys


def attention(
    q: Tensor, k: Tensor, v: Tensor, plan: AttentionPlan, dropout: float = 0.0, backend: str | None = None
) -> Tensor:
    """softmax(q k^T / sqrt(Dh)) v, each query over the keys that ``plan`` lets it see.

    q [Q, H, Dh], k and v [K, H, Dh], where Q and K are the plan's ``num_queries`` and ``num_keys``. Returns [Q, H, Dh].
    ``dropout`` and ``backend`` as in ``fc_attention``. Raises ValueError when an argument does not fit.
    """
    _check_dropout(dropout)
    heads_and_width = tuple(q.shape[1:])
    _check_part("q", q, q, (plan.num_queries, *heads_and_width))
    for name, rows in (("k", k), ("v", v)):
        _check_part(name, rows, q, (plan.num_keys, *heads_and_width))
    return backend_for(q, backend).attention(q, k, v, plan, dropout)


def fc_attention(
    tokens: tuple[Tensor, Tensor, Tensor],
    summaries: tuple[Tensor, Tensor, Tensor] | None,
    summary_kv_weight: Tensor | None,
    layout: BarLayout,
    dropout: float = 0.0,
    place_summary_keys: PlaceKeys | None = None,
    backend: str | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Fine- and coarse-grained attention (Museformer, section 3; arXiv 2210.10349)::

        s' = Attention(q_s, [k_s ; k_x], [v_s ; v_x])        a summary sees itself and its bar
        x' = Attention(q_x, [p(K2 s') ; k_x], [V2 s' ; v_x]) a token sees, in one softmax, its piece's
                                                             prefix, its own bar so far, its structure
                                                             bars, and the summaries of the other bars

    p is ``place_summary_keys``, or leaves K2 s' as it is.

    Args:
        tokens: q, k, v of the tokens, each [T, H, Dh].
        summaries: q, k, v of the summaries, each [N, H, Dh]; None when ``layout`` is not coarse.
        summary_kv_weight: K2 above V2, [2 * H * Dh, H * Dh]; None when ``layout`` is not coarse.
        layout: where the bars lie; T and N are its ``num_tokens`` and ``num_summaries``.
        dropout: rate of dropout on the attention weights of both steps; the caller passes 0 in
            evaluation. The seed comes from PyTorch's generator.
        place_summary_keys: what models with rotary positions do to K2 s' [N, H, Dh] between the two steps, as they
            do to k_x before the call; differentiable, and without parameters of its own.
        backend: "triton" or "cpu"; None takes the fastest that the tensors allow.

    Returns x' [T, H, Dh] and s' [N, H, Dh] (None when not coarse), in the dtype of the tokens.

    Raises ValueError when an argument does not fit the layout or the other arguments.
    """
    _check_dropout(dropout)
    shape = tuple(tokens[0].shape[1:])
    _check("tokens", tokens, (layout.num_tokens, *shape))
    if not layout.coarse:
        return backend_for(tokens[0], backend).attention(*tokens, layout.token_plan, dropout), None
    if summaries is None or summary_kv_weight is None:
        raise ValueError("a coarse layout needs summaries and summary_kv_weight")
    _check("summaries", summaries, (layout.num_summaries, *shape))
    width = shape[0] * shape[1]
    if summary_kv_weight.shape != (2 * width, width):
        found = tuple(summary_kv_weight.shape)
        raise ValueError(f"summary_kv_weight has shape {found}, expected [{2 * width}, {width}]")
    run = backend_for(tokens[0], backend).fc_attention
    return run(tokens, summaries, summary_kv_weight, layout, dropout, place_summary_keys)


def _check_dropout(dropout: float) -> None:
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout: expected a rate from 0 to below 1, not {dropout}")


def _check(name: str, qkv: tuple[Tensor, Tensor, Tensor], shape: tuple[int, ...]) -> None:
    for part, rows in zip("qkv", qkv):
        _check_part(f"{name}: {part}", rows, qkv[0], shape)


def _check_part(name: str, rows: Tensor, like: Tensor, shape: tuple[int, ...]) -> None:
    if rows.dim() != 3 or rows.shape != shape:
        heads_and_width = ", ".join(map(str, shape[1:])) if len(shape) == 3 else "heads, head width"
        raise ValueError(f"{name} has shape {tuple(rows.shape)}, expected [{shape[0]}, {heads_and_width}]")
    if rows.dtype != like.dtype or rows.device != like.device:
        raise ValueError(f"{name} is {rows.dtype} on {rows.device}, expected {like.dtype} on {like.device}")
