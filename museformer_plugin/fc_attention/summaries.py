"""What tokens see of summaries: the keys K2 s' and the values V2 s'."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

# what becomes of K2 s' [N, H, Dh] before tokens see it: normalised, say, and turned to its bar
PlaceKeys = Callable[[Tensor], Tensor]


def summary_keys_and_values(s: Tensor, weight: Tensor, place: PlaceKeys | None = None) -> tuple[Tensor, Tensor]:
    """K2 s', as ``place`` makes it, and V2 s' [N, H, Dh] of s' [N, H, Dh]; weight [2 * H * Dh, H * Dh]: K2 above V2."""
    k2, v2 = F.linear(s.flatten(1), weight.to(s.dtype)).view(len(s), 2, *s.shape[1:]).unbind(1)
    return k2 if place is None else place(k2), v2
