"""A plan of attention as ``ragged_head`` walks it: segment by segment, and in each range by range."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..plan import AttentionPlan

# Runs of summaries with at most this many rows between them are taken as one, and those rows hidden: a product of its
# own for each run costs more. What is hidden so belongs to earlier bars of the same piece: a hidden value that is not
# finite would come through the product, and none may come from the future or from another piece.
_LARGEST_HOLE = 16


class Walk(NamedTuple):
    """Tensors are int64, made on the CPU; TorchScript takes a named tuple, and no dataclass.

    Each of ``segments`` [S, 6] has its first query and the one behind its last, whether it is causal, likewise which of
    ``visits`` are its own, one at least, and how many keys they go to. Each of ``visits`` [U, 3] has the number of the
    range of keys that it goes to, and which of ``holes`` are its own: columns of the range that no query of the segment
    may see. ``ranges`` [R, 2] are distinct.
    """

    segments: Tensor
    visits: Tensor
    holes: Tensor
    ranges: Tensor
    scores_of_visit: int  # of the visit that has most: queries times keys
    scores_of_segment: int

    @staticmethod
    def of(plan: AttentionPlan) -> Walk:
        """Bridge the short gaps between the key ranges of every segment, and number the distinct ones."""
        first, ranges = plan.first_key_range.tolist(), plan.key_ranges.tolist()
        segments, visits, holes = [], [], []
        numbers: dict[tuple[int, int], int] = {}
        scores_of_visit = scores_of_segment = 0
        for place, (start, end) in enumerate(plan.query_ranges.tolist()):
            key_ranges = ranges[first[place] : first[place + 1]]
            causal = int(plan.causal[place])
            num_summaries = key_ranges[-1][1] - end if causal else 0  # own rows come last
            first_visit, width = len(visits), 0
            for run, hidden in _bridge(key_ranges, num_summaries):
                visits.append([numbers.setdefault(run, len(numbers)), len(holes), len(holes) + len(hidden)])
                holes += hidden
                width += run[1] - run[0]
                scores_of_visit = max(scores_of_visit, (end - start) * (run[1] - run[0]))
            scores_of_segment = max(scores_of_segment, (end - start) * width)
            segments.append([start, end, causal, first_visit, len(visits), width])
        return Walk(
            torch.tensor(segments, dtype=torch.int64).view(-1, 6),
            torch.tensor(visits, dtype=torch.int64).view(-1, 3),
            torch.tensor(holes, dtype=torch.int64),
            torch.tensor(list(numbers), dtype=torch.int64).view(-1, 2),
            scores_of_visit,
            scores_of_segment,
        )


def _bridge(ranges: list[list[int]], num_summaries: int) -> list[tuple[tuple[int, int], list[int]]]:
    """Ranges of summaries that lie close behind one another as one, each with the columns of the rows between them."""
    bridged: list[tuple[tuple[int, int], list[int]]] = []
    for start, end in ranges:
        (first, behind), holes = bridged[-1] if bridged else ((0, end + 1), [])
        if 0 <= start - behind <= _LARGEST_HOLE and end <= num_summaries:
            bridged[-1] = (first, end), holes + list(range(behind - first, start - first))
        else:
            bridged.append(((start, end), []))
    return bridged
