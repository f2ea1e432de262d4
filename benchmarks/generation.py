"""Writing pieces with the paper-size model: tokens a second, for one stream and for batches, as pieces grow.

    python -m benchmarks.generation --streams 1 5 16 --lengths 1000 5000 10000 15000

The generator is the one behind ``fairseq-generate``, called as it calls it. Weights are random; bars get realistic
lengths by being ended where ``benchmarks.pieces`` says. ``recomputed`` is what a step costs without incremental
state: the whole piece read again. Resident memory is that of the process when the pieces have this length. The floor
of a step is counted: see ``floor_seconds``.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.ceilings import Ceilings, measure_ceilings
from benchmarks.pieces import bar_lengths, random_piece, six_track_dictionary
from benchmarks.writing import StepTimes, write_pieces
from museformer_plugin.fc_attention import BarLayout, PieceBars
from museformer_plugin.grammar import StreamGrammar
from museformer_plugin.models.museformer import MuseformerConfig, MuseformerDecoder
from museformer_plugin.piece_rules import PieceRules
from museformer_plugin.pieces_under_way import PieceUnderWay
from museformer_plugin.steering.stream_orders import StreamOrders
from museformer_plugin.token_families import TokenFamilies

WINDOW = 200  # steps over which a time is taken


class _PlannedBars(PieceRules):
    """Rules that end bars where planned, as far as the grammar lets them."""

    def __init__(self, families: TokenFamilies, length: int, streams: int, device: torch.device) -> None:
        super().__init__(families, length, length)
        planned = [np.array(bar_lengths(length, seed)) for seed in range(streams)]
        at = [np.repeat(lengths, lengths)[: length + 1] for lengths in planned]  # of the bar that a token falls into
        self._planned = torch.from_numpy(np.stack([np.pad(row, (0, length + 1 - len(row)), "edge") for row in at]))
        self._planned = self._planned.to(device)  # int64 [streams, length + 1]
        self._began = torch.zeros(streams, dtype=torch.int64, device=device)

    def allowed(
        self, lengths: Tensor, grammar: StreamGrammar, logits: Tensor, orders: StreamOrders | None = None
    ) -> Tensor:
        """See ``PieceRules``."""
        allowed = super().allowed(lengths, grammar, logits, orders)
        if len(lengths) < len(self._began):  # at the very end, a token or two apart
            return allowed
        # to do it again changes nothing, so that a step with these rules can be recorded
        self._began.copy_(torch.where(grammar.at_bar_end(), lengths, self._began))
        is_too_short = lengths + 1 < self._began + self._planned.gather(1, self._began[:, None])[:, 0]
        may_end = allowed[:, self.end_of_bar].clone()
        waits = may_end & is_too_short & (allowed.sum(dim=1) > 1)
        allowed[:, self.end_of_bar] &= ~waits
        return torch.where((may_end & ~waits)[:, None], grammar.end_of_bar_alone, allowed)


class _TimesAndMemory(StepTimes):
    """Notes also the resident memory, GiB by step, every 1,000 steps."""

    def __init__(self, pieces: Sequence[PieceUnderWay], rules: PieceRules) -> None:
        super().__init__(pieces, rules)
        self.resident_gib: dict[int, float] = {}

    def wrote(self, pieces: Sequence[PieceUnderWay], ended: Sequence[bool], streams: int) -> None:
        """See ``Progress``."""
        super().wrote(pieces, ended, streams)
        if len(self.read) % 1000 == 0:
            self.resident_gib[len(self.read)] = _resident_gib()


def _resident_gib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**30


def _longest(lengths: list[int]) -> int:
    return max(lengths) + WINDOW + 10


def measure(decoder: MuseformerDecoder, streams: int, lengths: list[int]) -> dict[int, tuple[float, float]]:
    """Median seconds of a step, and resident GiB, when pieces have each of ``lengths`` tokens, multiples of 1,000."""
    device = next(decoder.parameters()).device
    rules = _PlannedBars(decoder.families, _longest(lengths), streams, device)
    _, times = write_pieces(decoder, rules, streams, _TimesAndMemory)
    steps = times.steps()
    return {
        length: (statistics.median(steps[length - WINDOW : length + WINDOW]), times.resident_gib[length])
        for length in lengths
    }


def rows_seen(decoder: MuseformerDecoder, length: int, longest: int, seed: int) -> int:
    """Keys that the token behind ``length`` others attends to, in a piece with the planned bars of this seed."""
    starts = 1 + np.concatenate([[0], np.cumsum(bar_lengths(longest, seed))])
    starts = starts[starts < length]
    piece = PieceBars(length, starts, len(starts) - 1)
    plan = BarLayout.build([piece], decoder.structure_bars, decoder.coarse).token_plan
    ranges = plan.key_ranges[plan.first_key_range[-2] :]
    return int((ranges[:, 1] - ranges[:, 0]).sum())


def floor_seconds(decoder: MuseformerDecoder, streams: int, length: int, longest: int, ceilings: Ceilings) -> float:
    """The least time of a step: weights, and the keys and values that streams see, are read once and multiplied."""
    weights = sum(weight.numel() for name, weight in decoder.named_parameters() if name != "embedding.token.weight")
    rows = sum(rows_seen(decoder, length, longest, seed) for seed in range(streams))
    numbers = rows * 2 * decoder.output_projection.in_features * len(decoder.layers)
    itemsize = decoder.output_projection.weight.dtype.itemsize
    return ceilings.floor_seconds(2 * (streams * weights + numbers), itemsize * (weights + numbers))


@torch.no_grad()
def recomputed(decoder: MuseformerDecoder, length: int) -> float:
    """Seconds of reading a whole piece for its next token."""
    piece = random_piece(length, decoder.dictionary, seed=0).to(next(decoder.parameters()).device)
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        decoder(piece[None])[0][0, -1].sum().item()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def main() -> None:
    """The command: prints a table and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 5, 16])
    parser.add_argument("--lengths", type=int, nargs="+", default=[1000, 5000, 10000, 15000])
    parser.add_argument("--recompute-up-to", type=int, default=20000, help="tokens; longer pieces are not read again")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cpu", "cuda"))
    parser.add_argument("--dtype", default="float32", choices=("float32", "float16", "bfloat16"))
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args()
    torch.manual_seed(1)
    decoder = MuseformerDecoder(MuseformerConfig(), six_track_dictionary())
    decoder.to(args.device, getattr(torch, args.dtype)).eval()
    found = {streams: measure(decoder, streams, args.lengths) for streams in args.streams}
    again = {length: recomputed(decoder, length) for length in args.lengths if length <= args.recompute_up_to}
    ceilings = measure_ceilings(torch.device(args.device), getattr(torch, args.dtype))
    print(f"ceilings: {ceilings.operations / 1e12:.2f} TFLOP/s, {ceilings.bytes / 1e9:.0f} GB/s")
    print("| streams | tokens so far | step ms | floor ms | tokens/s | resident GiB | times faster than recomputing |")
    print("|---|---|---|---|---|---|---|")
    for streams, by_length in found.items():
        for length, (seconds, resident) in by_length.items():
            ratio = f"{streams * again[length] / seconds:.0f}" if length in again else ""
            floor = floor_seconds(decoder, streams, length, _longest(args.lengths), ceilings)
            figures = f"{seconds * 1e3:.2f} | {floor * 1e3:.2f} | {streams / seconds:.0f} | {resident:.2f} | {ratio}"
            print(f"| {streams} | {length:,} | {figures} |")
    if args.json:
        args.json.write_text(json.dumps({"steps": found, "recomputed": again}, indent=1) + "\n")


if __name__ == "__main__":
    main()
