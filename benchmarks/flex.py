"""FlexAttention over the pairs of the token step: its mask, block by block, and the compiled call."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from museformer_plugin.fc_attention import BarLayout


def flex_block_mask(layout: BarLayout, block: int, device: torch.device) -> BlockMask:
    """FlexAttention's mask of the token step, its blocks counted from the ranges of the plan."""
    plan, num_summaries = layout.token_plan, layout.num_summaries
    shape = (-(-layout.num_tokens // block), -(-plan.num_keys // block))
    count = np.zeros(shape, dtype=np.int64)
    for number, (first, end) in enumerate(plan.query_ranges.tolist()):
        for start, stop in plan.key_ranges[plan.first_key_range[number] : plan.first_key_range[number + 1]].tolist():
            columns = np.arange(start // block, -(-stop // block))
            edges = np.stack([np.maximum(columns * block, start), np.minimum((columns + 1) * block, stop)])
            for row in range(first // block, -(-end // block)):
                queries = np.arange(max(row * block, first), min((row + 1) * block, end))
                last = np.minimum(edges[1], queries[:, None] + num_summaries + 1)
                count[row, columns] += np.maximum(last - edges[0], 0).sum(axis=0)
    full = count == block * block
    indices = [torch.from_numpy(np.argsort(~kind, axis=1, kind="stable")) for kind in ((count > 0) & ~full, full)]
    numbers = [torch.from_numpy(kind.sum(axis=1)) for kind in ((count > 0) & ~full, full)]
    kv_num, kv, full_num, full_kv = (
        part[None, None].to(device, torch.int32) for pair in zip(numbers, indices) for part in pair
    )

    bar = torch.from_numpy(layout.bar_ids).to(device)
    key_bar = torch.from_numpy(np.concatenate([layout.summary_bar_ids, layout.bar_ids])).to(device)
    is_structure = torch.zeros(int(bar.max()) + 1, dtype=torch.bool, device=device)
    is_structure[[distance for distance in layout.structure_bars if distance < len(is_structure)]] = True

    def sees(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        distance = bar[query] - key_bar[key]
        in_structure = is_structure[distance.clamp(min=0)] & (distance > 0)
        fine = (key <= query + num_summaries) & ((distance == 0) | in_structure | (key_bar[key] == 0))
        return torch.where(key < num_summaries, (distance > 0) & ~in_structure, fine)

    return BlockMask.from_kv_blocks(
        kv_num, kv, full_num, full_kv, BLOCK_SIZE=block, mask_mod=sees, seq_lengths=(layout.num_tokens, plan.num_keys)
    )


def flex_attention_for(layout: BarLayout, block: int, q: Tensor, k: Tensor, v: Tensor) -> Callable[[], Tensor]:
    """FlexAttention over q, k, v [1, H, rows, Dh], compiled anew and without eager parts.

    Dynamo keeps eight compilations of a function and then runs it eagerly, without a word, so those of before are
    forgotten first: a call that was made earlier is compiled again. On a CPU, whose compiled code has no gradients,
    it is traced and run as it is.
    """
    mask = flex_block_mask(layout, block, q.device)
    tiles = ("BLOCK_M", "BLOCK_N", "BLOCK_M1", "BLOCK_N1", "BLOCK_M2", "BLOCK_N2")
    options = {} if block >= 128 else dict.fromkeys(tiles, block)
    torch._dynamo.reset()
    backend = "inductor" if q.device.type == "cuda" else "eager"
    compiled = torch.compile(flex_attention, dynamic=False, fullgraph=True, backend=backend)
    return partial(compiled, q, k, v, block_mask=mask, kernel_options=options)
