"""The one public call: ``fc_attention``.

Letters: T tokens of a batch laid end to end, N summaries (complete bars), H heads, Dh head width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .backends import attention_for
from .layout import BarLayout
from .ragged import PlaceKeys, ragged_attention, ragged_fc_attention, summary_keys_and_values


def fc_attention(
    tokens: tuple[Tensor, Tensor, Tensor],
    summaries: tuple[Tensor, Tensor, Tensor] | None,
    summary_kv_weight: Tensor | None,
    layout: BarLayout,
    dropout: float = 0.0,
    backend: str | None = None,
    place_summary_keys: PlaceKeys | None = None,
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
        backend: "triton" or "plain" in tests; None takes the fastest that the tensors allow.
        place_summary_keys: what models with rotary positions do to K2 s' [N, H, Dh] between the two steps, as they
            do to k_x before the call; differentiable, and without parameters of its own.

    Returns x' [T, H, Dh] and s' [N, H, Dh] (None when not coarse), in the dtype of the tokens.

    Raises ValueError when an argument does not fit the layout or the other arguments.
    """
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout: expected a rate from 0 to below 1, not {dropout}")
    _check("tokens", tokens, (layout.num_tokens, *tokens[0].shape[1:]))
    q_x, k_x, v_x = tokens
    attend = attention_for(q_x, backend)
    if not layout.coarse:
        return attend(q_x, k_x, v_x, layout.token_plan, dropout), None
    if summaries is None or summary_kv_weight is None:
        raise ValueError("a coarse layout needs summaries and summary_kv_weight")
    _check("summaries", summaries, (layout.num_summaries, *q_x.shape[1:]))
    width = q_x.shape[1] * q_x.shape[2]
    if summary_kv_weight.shape != (2 * width, width):
        shape = tuple(summary_kv_weight.shape)
        raise ValueError(f"summary_kv_weight has shape {shape}, expected [{2 * width}, {width}]")
    if attend is ragged_attention:
        return ragged_fc_attention(tokens, summaries, summary_kv_weight, layout, place_summary_keys, dropout)
    q_s, k_s, v_s = summaries
    s = attend(q_s, torch.cat([k_s, k_x]), torch.cat([v_s, v_x]), layout.summary_plan, dropout)
    k2, v2 = summary_keys_and_values(s, summary_kv_weight, place_summary_keys)
    x = attend(q_x, torch.cat([k2, k_x]), torch.cat([v2, v_x]), layout.token_plan, dropout)
    return x, s


def _check(name: str, qkv: tuple[Tensor, Tensor, Tensor], shape: tuple[int, ...]) -> None:
    rows, *heads_and_width = shape
    expected = (
        f"[{rows}, {', '.join(map(str, heads_and_width))}]" if len(shape) == 3 else f"[{rows}, heads, head width]"
    )
    for part, tensor in zip("qkv", qkv):
        if tensor.dim() != 3 or tensor.shape != shape:
            raise ValueError(f"{name}: {part} has shape {tuple(tensor.shape)}, expected {expected}")
        if tensor.dtype != qkv[0].dtype or tensor.device != qkv[0].device:
            raise ValueError(
                f"{name}: {part} is {tensor.dtype} on {tensor.device}, expected {qkv[0].dtype} on {qkv[0].device}"
            )
