"""bfloat16 against float32 on a CPU, paper size: an update of one piece, and a step of writing.

Before them a product of two large matrices, which says how much faster the CPU can be at most.

    OMP_NUM_THREADS=1 python -m benchmarks.bfloat16 --tokens 15360 --streams 1 16 --length 5000

The two take turns, so that other programs slow both; a ratio is the median of those of all turns. An update is forward,
backward and Adam on float32 copies, with the paper's dropout, as ``fairseq-train --bf16`` makes it. CPU seconds are
those of all threads, which other programs disturb less than wall-clock time.
"""

from __future__ import annotations

import argparse
from itertools import cycle, islice

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.pieces import random_piece, six_track_dictionary
from benchmarks.turns import Seconds, median_ms, median_ratios, timed
from museformer_plugin.models.decoder import Streams
from museformer_plugin.models.museformer import MuseformerConfig, MuseformerDecoder
from museformer_plugin.packed_weights import pack_weights

DTYPES = torch.float32, torch.bfloat16
WARM_UP, STEPS = 5, 100  # steps of writing a turn
PRODUCT = 2048  # rows and columns of the matrices multiplied
PIECES = 4  # that streams continue, so that they need not all be read

Times = dict[torch.dtype, list[Seconds]]  # of every turn


def _decoder(dtype: torch.dtype) -> MuseformerDecoder:
    torch.manual_seed(1)
    return MuseformerDecoder(MuseformerConfig(), six_track_dictionary()).to(dtype)


class _Training:
    """A model with float32 copies of its parameters, which Adam changes."""

    def __init__(self, dtype: torch.dtype) -> None:
        self._model = _decoder(dtype).train()
        self._copies = [parameter.detach().float().requires_grad_() for parameter in self._model.parameters()]
        self._optimizer = torch.optim.Adam(self._copies, lr=1e-4)

    def update(self, piece: Tensor) -> None:
        logits = self._model(piece[None])[0][0, :-1]
        F.nll_loss(F.log_softmax(logits, dim=1, dtype=torch.float32), piece[1:]).backward()
        for parameter, copy in zip(self._model.parameters(), self._copies):
            copy.grad, parameter.grad = parameter.grad.float(), None
        self._optimizer.step()
        with torch.no_grad():
            for parameter, copy in zip(self._model.parameters(), self._copies):
                parameter.copy_(copy)


def measure_products(turns: int) -> Times:
    """Products of two square matrices."""
    times: Times = {dtype: [] for dtype in DTYPES}
    for _ in range(turns + 1):
        for dtype in DTYPES:
            matrix = torch.randn(PRODUCT, PRODUCT, dtype=dtype)
            times[dtype].append(timed(lambda matrix=matrix: torch.mm(matrix, matrix)))
    return {dtype: found[1:] for dtype, found in times.items()}


def measure_updates(tokens: int, turns: int) -> Times:
    """Updates of random pieces of ``tokens`` tokens."""
    trainings = {dtype: _Training(dtype) for dtype in DTYPES}
    times: Times = {dtype: [] for dtype in DTYPES}
    for seed in range(turns + 1):
        piece = random_piece(tokens, six_track_dictionary(), seed)
        for dtype, training in trainings.items():
            times[dtype].append(timed(lambda training=training, piece=piece: training.update(piece)))
    return {dtype: found[1:] for dtype, found in times.items()}


def _begin(decoder: MuseformerDecoder, streams: int, length: int) -> Streams:
    dictionary = decoder.dictionary
    _, begun = decoder.read_prompts([torch.tensor([dictionary.eos()])] * streams)
    pieces = [random_piece(length, dictionary, seed) for seed in range(min(streams, PIECES))]
    read = [decoder.read_prompts([piece])[1] for piece in pieces]
    for number, entering in enumerate(islice(cycle(read), streams)):
        begun.put(number, entering)
    return begun


@torch.no_grad()
def measure_steps(streams: int, length: int, turns: int) -> Times:
    """``STEPS`` tokens of every stream behind ``length`` others; weights are packed as for ``--bf16``."""
    decoders = {dtype: _decoder(dtype).eval() for dtype in DTYPES}
    times: Times = {dtype: [] for dtype in DTYPES}
    begun = {}
    for dtype, decoder in decoders.items():
        pack_weights(decoder)
        begun[dtype] = _begin(decoder, streams, length)
    tokens = torch.full((streams,), six_track_dictionary().index("p-60"))
    for _ in range(turns):
        for dtype, decoder in decoders.items():

            def write(count: int, decoder: MuseformerDecoder = decoder, dtype: torch.dtype = dtype) -> None:
                for _ in range(count):
                    decoder.step(tokens, begun[dtype])

            write(WARM_UP)
            wall, cpu = timed(lambda write=write: write(STEPS))
            times[dtype].append(Seconds(wall / STEPS, cpu / STEPS))
    return times


def _row(name: str, times: Times) -> str:
    of_float32, of_bfloat16 = (times[dtype] for dtype in DTYPES)
    clocks = zip(median_ms(of_float32), median_ms(of_bfloat16), median_ratios(of_float32, of_bfloat16))
    columns = [f"{slow:,.1f} | {fast:,.1f} | {ratio:.2f}" for slow, fast, ratio in clocks]
    return f"| {name} | {' | '.join(columns)} |"


def main() -> None:
    """The command: prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tokens", type=int, default=15360, help="of an update's piece; 0 leaves updates out")
    parser.add_argument("--streams", type=int, nargs="*", default=[1, 16], help="pieces written at a time")
    parser.add_argument("--length", type=int, default=5000, help="tokens that they have already")
    parser.add_argument("--turns", type=int, default=5)
    args = parser.parse_args()
    print("| what | float32 ms | bfloat16 ms | times faster | float32 CPU ms | bfloat16 CPU ms | times faster |")
    print("|---|---|---|---|---|---|---|", flush=True)
    print(_row(f"product of {PRODUCT:,} x {PRODUCT:,}", measure_products(args.turns)), flush=True)
    if args.tokens:
        print(_row(f"update of {args.tokens:,} tokens", measure_updates(args.tokens, args.turns)), flush=True)
    for streams in args.streams:
        name = f"step of {streams} streams at {args.length:,} tokens"
        print(_row(name, measure_steps(streams, args.length, args.turns)), flush=True)


if __name__ == "__main__":
    main()
