"""A plan of attention cut into tiles: the queries of one segment times one range of keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..plan import AttentionPlan

# Ranges of summaries with at most this many rows between them are taken as one, and those rows masked: a product of its
# own for each costs more. What is masked so belongs to earlier bars of the same piece: a masked value that is not
# finite would come through the product, and none may come from the future or from another piece.
_LARGEST_GAP = 16

# Segments with a moving left edge are cut to this many queries. Fewer would compute fewer scores that are masked, in
# products too small to pay: measured best for windows of 64 to 1,024 rows, in float32 and bfloat16.
_QUERIES_OF_A_WINDOW = 128


class Tiles(NamedTuple):
    """Tensors are int64, made on the CPU; TorchScript takes a named tuple, and no dataclass.

    Each of ``segments`` [S, 7] has its first query and the one behind its last, whether it is causal, likewise which of
    ``tiles`` are its own, one at least, how many keys they have, and where the left edge lies: query i does not see the
    columns of the last tile before ``left`` + i, which is at most 0 for the first query. Each of ``tiles`` [U, 3] has
    the index of its range of keys, and which of ``masked`` are its own: columns of the range that no query of the
    segment may see. ``ranges`` [R, 2] are distinct.
    """

    segments: Tensor
    tiles: Tensor
    masked: Tensor
    ranges: Tensor
    scores_of_tile: int  # of the tile that has most: queries times keys
    scores_of_segment: int

    @staticmethod
    def of(plan: AttentionPlan) -> Tiles:
        """Bridge the short gaps between the key ranges of every segment, and index the distinct ones."""
        segments: list[list[int]] = []
        tiles: list[list[int]] = []
        masked: list[int] = []
        indices: dict[tuple[int, int], int] = {}
        scores_of_tile = scores_of_segment = 0
        for segment in plan.with_short_windows(_QUERIES_OF_A_WINDOW).segments():
            start, end = segment.queries
            last_range = segment.keys[-1]
            num_summaries = last_range[1] - end if segment.causal else 0  # own rows come last
            first_tile, width = len(tiles), 0
            for keys, columns in _bridge(segment.keys, num_summaries):
                tiles.append([indices.setdefault(keys, len(indices)), len(masked), len(masked) + len(columns)])
                masked += columns
                width += keys[1] - keys[0]
                scores_of_tile = max(scores_of_tile, (end - start) * (keys[1] - keys[0]))
            scores_of_segment = max(scores_of_segment, (end - start) * width)
            own_column = last_range[1] - last_range[0] - (end - start)  # of the first query
            left = own_column - segment.window + 1 if segment.window else start - end
            segments.append([start, end, int(segment.causal), first_tile, len(tiles), width, left])
        return Tiles(
            torch.tensor(segments, dtype=torch.int64).view(-1, 7),
            torch.tensor(tiles, dtype=torch.int64).view(-1, 3),
            torch.tensor(masked, dtype=torch.int64),
            torch.tensor(list(indices), dtype=torch.int64).view(-1, 2),
            scores_of_tile,
            scores_of_segment,
        )


def _bridge(ranges: Sequence[tuple[int, int]], num_summaries: int) -> list[tuple[tuple[int, int], list[int]]]:
    """Ranges of summaries that lie close behind one another as one, each with the columns of the rows between them."""
    bridged: list[tuple[tuple[int, int], list[int]]] = []
    for start, end in ranges:
        (first, behind), columns = bridged[-1] if bridged else ((0, end + 1), [])
        if 0 <= start - behind <= _LARGEST_GAP and end <= num_summaries:
            bridged[-1] = (first, end), columns + list(range(behind - first, start - first))
        else:
            bridged.append(((start, end), []))
    return bridged
