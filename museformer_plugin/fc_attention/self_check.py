"""A quick check that attention computes what its definition says, on the device where it will run."""

from __future__ import annotations

import numpy as np
import torch

from .api import fc_attention
from .layout import BarLayout, PieceBars
from .reference import fc_attention_reference

# largest errors of right code, with room: far above rounding
TOLERANCES = {torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 1e-1}


def largest_error(
    device: torch.device, dtype: torch.dtype = torch.float32, head_width: int = 64, backend: str | None = None
) -> float:
    """How far a small piece is from the definition in float64, outputs and gradients.

    The largest difference over the largest value, of the worst of all tensors: rounding gives 1e-6 in float32 and
    1e-2 in 16 bits. ``backend`` as in ``fc_attention``.
    """
    heads, width = 2, 2 * head_width
    lengths = np.arange(5, 45)
    starts = 1 + np.concatenate([[0], np.cumsum(lengths)[:-1]])
    layout = BarLayout.build([PieceBars(int(lengths.sum()) + 1, starts, len(lengths))], (1, 2, 4, 8))
    random = torch.Generator().manual_seed(0)
    shapes = [(layout.num_tokens, heads, head_width)] * 3 + [(layout.num_summaries, heads, head_width)] * 3
    inputs = [torch.randn(shape, generator=random).to(dtype) for shape in shapes]
    inputs.append((torch.randn(2 * width, width, generator=random) * width**-0.5).to(dtype))
    found = _outputs_and_gradients([tensor.to(device) for tensor in inputs], layout, backend)
    expected = _outputs_and_gradients([tensor.double() for tensor in inputs], layout, "reference")
    errors = [(ours.double().cpu() - theirs).abs().max() / theirs.abs().max() for ours, theirs in zip(found, expected)]
    return float(torch.stack(errors).max())


def _outputs_and_gradients(inputs: list[torch.Tensor], layout: BarLayout, backend: str | None) -> list[torch.Tensor]:
    inputs = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    tokens, summaries, weight = tuple(inputs[:3]), tuple(inputs[3:6]), inputs[6]
    with torch.enable_grad(), torch.autocast(inputs[0].device.type, enabled=False):  # whatever the caller is in
        if backend == "reference":
            x, s = fc_attention_reference(tokens, summaries, weight, layout)
        else:
            x, s = fc_attention(tokens, summaries, weight, layout, backend=backend)
        (x.square().sum() + s.square().sum()).backward()
    return [x.detach(), s.detach(), *(tensor.grad for tensor in inputs)]
