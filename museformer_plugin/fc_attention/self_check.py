"""A quick check that attention computes what its definition says, on the device where it will run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from .layout import BarLayout
from .piece_bars import PieceBars
from .reference import fc_attention_reference
from .tf32 import takes_tf32

# largest errors of right code, with a margin: far above rounding
TOLERANCES = {torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 1e-1}


def tolerance(dtype: torch.dtype) -> float:
    """The largest error of right code: of float32 that of float16 where PyTorch takes TF32, which has as many bits."""
    return TOLERANCES[torch.float16 if takes_tf32(dtype) else dtype]


def largest_error(
    operator: Callable[..., tuple[torch.Tensor, torch.Tensor]],
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    head_width: int = 64,
    heads: int = 2,
    bars: int = 40,
) -> float:
    """How far ``operator``, called as ``fc_attention``, is from the definition in float64: outputs and gradients.

    The largest difference over the largest value on a piece with bars of 5, 6, 7 ... tokens, of the worst of all
    tensors: rounding gives 1e-6 in float32 and 1e-2 in 16 bits.
    """
    width = heads * head_width
    lengths = np.arange(5, 5 + bars)
    starts = 1 + np.concatenate([[0], np.cumsum(lengths)[:-1]])
    layout = BarLayout.build([PieceBars(int(lengths.sum()) + 1, starts, len(lengths))], (1, 2, 4, 8))
    random = torch.Generator().manual_seed(0)
    shapes = [(layout.num_tokens, heads, head_width)] * 3 + [(layout.num_summaries, heads, head_width)] * 3
    inputs = [torch.randn(shape, generator=random).to(dtype) for shape in shapes]
    inputs.append((torch.randn(2 * width, width, generator=random) * width**-0.5).to(dtype))
    found = _outputs_and_gradients([tensor.to(device) for tensor in inputs], layout, operator)
    expected = _outputs_and_gradients([tensor.double() for tensor in inputs], layout, fc_attention_reference)
    errors = [(ours.double().cpu() - theirs).abs().max() / theirs.abs().max() for ours, theirs in zip(found, expected)]
    return float(torch.stack(errors).max())


def _outputs_and_gradients(
    inputs: list[torch.Tensor], layout: BarLayout, operator: Callable[..., tuple[torch.Tensor, torch.Tensor]]
) -> list[torch.Tensor]:
    inputs = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    with torch.enable_grad(), torch.autocast(inputs[0].device.type, enabled=False):  # whatever the caller is in
        x, s = operator(tuple(inputs[:3]), tuple(inputs[3:6]), inputs[6], layout)
        gradients = torch.autograd.grad(x.square().sum() + s.square().sum(), inputs)
    return [x.detach(), s.detach(), *gradients]
