"""A plan of attention as ``ragged_head`` walks it, segment by segment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .layout import AttentionPlan

# Runs of summaries with at most this many rows between them are taken as one, and those rows hidden: a product of its
# own for each run costs more. What is hidden so belongs to earlier bars of the same piece: a hidden value that is not
# finite would come through the product, and none may come from the future or from another piece.
_LARGEST_HOLE = 16


@dataclass(frozen=True)
class Walk:
    """Tensors are int64, on the CPU.

    Each segment [S, 7] has its first query and the one behind its last, whether it is causal, and likewise where in
    ``seen`` and ``widths`` [U] and in ``holes`` its entries lie: which of the distinct ``ranges`` [R, 2] it sees, how
    wide they are, and which columns of its scores nobody may see.
    """

    segments: Tensor
    ranges: Tensor
    seen: Tensor
    widths: Tensor
    holes: Tensor
    room: int  # numbers in the scores of the largest segment

    @staticmethod
    def of(plan: AttentionPlan) -> Walk:
        """Bridge the short gaps between the key ranges of every segment, and number the distinct ones."""
        first, ranges = plan.first_key_range.tolist(), plan.key_ranges.tolist()
        segments, seen, widths, holes = [], [], [], []
        numbers: dict[tuple[int, int], int] = {}
        room = 0
        for place, (start, end) in enumerate(plan.query_ranges.tolist()):
            key_ranges = ranges[first[place] : first[place + 1]]
            causal = int(plan.causal[place])
            num_summaries = key_ranges[-1][1] - end if causal else 0  # own rows come last
            bridged, hidden = _bridge(key_ranges, num_summaries)
            before = len(seen), len(holes)
            seen += [numbers.setdefault(run, len(numbers)) for run in bridged]
            widths += [run[1] - run[0] for run in bridged]
            holes += hidden
            room = max(room, (end - start) * sum(widths[before[0] :]))
            segments.append([start, end, causal, before[0], len(seen), before[1], len(holes)])
        return Walk(
            torch.tensor(segments, dtype=torch.int64).view(-1, 7),
            torch.tensor(list(numbers), dtype=torch.int64).view(-1, 2),
            torch.tensor(seen, dtype=torch.int64),
            torch.tensor(widths, dtype=torch.int64),
            torch.tensor(holes, dtype=torch.int64),
            room,
        )


def _bridge(ranges: list[list[int]], num_summaries: int) -> tuple[list[tuple[int, int]], list[int]]:
    """Ranges of summaries that lie close behind one another as one, and the columns of the rows between them."""
    bridged: list[tuple[int, int]] = []
    holes: list[int] = []
    column = 0
    for start, end in ranges:
        hole = start - bridged[-1][1] if bridged else -1
        if 0 <= hole <= _LARGEST_HOLE and end <= num_summaries:
            holes += range(column, column + hole)
            column += hole
            bridged[-1] = bridged[-1][0], end
        else:
            bridged.append((start, end))
        column += end - start
    return bridged, holes
