"""What a step of writing launches on a GPU, counted on a CPU in the caches of a GPU, and an H200's time for it.

    python -m benchmarks.decoding_ops --streams 1 64

The step is the one that is recorded as a CUDA graph: the model, what is allowed, the choice, and where it leaves each
stream. Where bars end, what the model makes of them is recorded, of all together; the host launches what files them,
each by itself. Every operator that makes or changes numbers counts as one kernel; some, such as ``topk``, are more.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.pieces import six_track_dictionary
from museformer_plugin.entrance import Entrance
from museformer_plugin.models.museformer import MuseformerConfig, MuseformerDecoder
from museformer_plugin.models.protocol import DecodingState
from museformer_plugin.next_tokens import NextTokens
from museformer_plugin.piece_rules import PieceRules
from museformer_plugin.pieces_under_way import PieceUnderWay
from museformer_plugin.sampling import SamplingOptions

_KERNEL_MICROSECONDS = 2.0, 3.0  # a small kernel of a graph, with the gap before it: assumed, not measured
_BYTES_A_SECOND = 4.8e12  # an H200's memory
_LAUNCH_NOTHING = ("empty", "lift_fresh", "_unsafe_view", "_reshape_alias")


class _Kernels(TorchDispatchMode):
    """Operators that would launch something, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()

    def __torch_dispatch__(
        self, operator: Any, types: Any, arguments: Sequence[Any] = (), keywords: Mapping[str, Any] | None = None
    ) -> Any:
        name = operator.__name__.partition(".")[0]
        if not operator.is_view and not name.startswith(_LAUNCH_NOTHING):
            self.names[name] += 1
        return operator(*arguments, **(keywords or {}))


@torch.no_grad()
def count(decoder: MuseformerDecoder, streams: int) -> tuple[Counter[str], Counter[str]]:
    """Operators, by name, of the model's part of a step and of the choice."""
    under_way, following, tokens = _begin(decoder, streams)
    reading, choosing = _Kernels(), _Kernels()

    def step(tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with reading:
            logits = decoder.advance(tokens, under_way)
        with choosing:
            return logits, following.choose(logits)

    step(tokens)
    return reading.names, choosing.names


@torch.no_grad()
def count_bar_ends(decoder: MuseformerDecoder, ended: int) -> tuple[int, int]:
    """Where so many bars end at once: operators that are recorded, and those that the host launches.

    The latter with the copies into the recording's inputs, its own launch, the copy of what it leaves, and that of the
    bars' numbers to the device, none of which a CPU needs.
    """
    streams, _, tokens = _begin(decoder, ended)
    decoder.step(tokens, streams)
    whole, recorded, around = _Kernels(), _Kernels(), 0

    def end(summarise: Callable[..., torch.Tensor], inputs: Sequence[torch.Tensor], _: int) -> torch.Tensor:
        nonlocal around
        around = len(inputs) + 3
        with recorded:
            return summarise(*inputs)

    with patch.object(streams, "run_bar_ends", end), whole:
        decoder.end_bars(streams, range(ended))
    return recorded.names.total(), whole.names.total() - recorded.names.total() + around


def _begin(decoder: MuseformerDecoder, streams: int) -> tuple[DecodingState, NextTokens, torch.Tensor]:
    """Streams behind the begin token, what they are given next, and the first of it."""
    rules = PieceRules(decoder.families, 1, 10_000)
    entrance = Entrance(decoder, rules, [torch.tensor([decoder.dictionary.eos()])], None)
    pieces = [PieceUnderWay(0, []) for _ in range(streams)]
    logits, under_way = entrance.open([0] * streams)
    options = SamplingOptions(sampling=True, topk=8, topp=0.0, temperature=1.0)
    following = NextTokens(
        rules, options, torch.Generator(), decoder.families, pieces, entrance.states * streams, logits.device
    )
    return under_way, following, following.choose(logits)[:, 0]


class _OnGpu(MuseformerDecoder):
    """With the caches that it has on a GPU."""

    def empty_cache(self, on_gpu: bool, expected: int) -> Any:
        return super().empty_cache(True, expected)


def main() -> None:
    """The command: prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--names", action="store_true", help="print how often each operator comes, too")
    args = parser.parse_args()
    rotary = MuseformerConfig(positions="rotary", rotary_index="onset", qk_norm=True, previous_tokens=3)
    print(
        "| model | streams | kernels of the model | of the choice | host reads | weights, MB | H200, ms "
        "| a bar's end: recorded | launched | four at once: recorded | launched |"
    )
    print("|---|" + "---|" * 10)
    for name, config in (("paper", MuseformerConfig()), ("rotary", rotary)):
        decoder = _OnGpu(config, six_track_dictionary()).eval()
        weights = 2 * sum(weight.numel() for weight in decoder.parameters())
        ends = " | ".join(
            f"{recorded} | {launched}" for recorded, launched in (count_bar_ends(decoder, n) for n in (1, 4))
        )
        for streams in args.streams:
            reading, choosing = count(decoder, streams)
            kernels = reading.total() + choosing.total()
            least, most = (1e-3 * kernels * each + 1e3 * weights / _BYTES_A_SECOND for each in _KERNEL_MICROSECONDS)
            figures = f"{reading.total()} | {choosing.total()} | 1 | {weights / 1e6:.0f} | {least:.2f} to {most:.2f}"
            print(f"| {name} | {streams} | {figures} | {ends} |", flush=True)
            if args.names:
                print(dict(reading.most_common()), dict(choosing.most_common()), sep="\n")


if __name__ == "__main__":
    main()
