"""Stage: updates of the paper-size model on one piece, by itself and as fairseq makes them, and of what it replaces.

    python -m benchmarks.gpu.updating --rows FILE --tokens 15360

What a model needs of a batch (bars, beats, layouts, index lists) is made before the timed updates, as data workers do;
the time with it beside is what one process alone would take. Several updates run in one timed window.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from fairseq.models import FairseqModel
from fairseq.trainer import Trainer
from torch import Tensor, nn

from benchmarks.architectures import build
from benchmarks.ceilings import synchronize
from benchmarks.configured import configured
from benchmarks.pieces import random_piece, six_track_dictionary
from benchmarks.training import transformer_lm
from museformer_plugin.dataset import PieceDataset
from museformer_plugin.fc_attention.backends import choose_backend

from .stage import StageArguments, run_each, stage_arguments

_MUON = "--optimizer muon --lr 0.04 --adamw-lr 6e-3 --dropout 0 --attention-dropout 0"
_PAPER = "--optimizer adam --lr 5e-4 --dropout 0.1 --attention-dropout 0.1"


def main() -> int:
    """The exit status: 1 where an update of ours failed."""
    arguments = stage_arguments("update")
    size = "" if arguments.on_gpu else "_tiny"
    rotary = "museformer_rotary" + size
    ours = partial(_measure_model, partial(build, "museformer" + size, 0), arguments)
    trainings = {
        "fairseq-train --bf16, dropout 0.1": f"museformer{size} {_PAPER} --bf16",
        "fairseq-train --fp16, dropout 0.1": f"museformer{size} {_PAPER} --fp16",
        "fairseq-train --bf16, rotary, Muon": f"{rotary} {_MUON} --bf16",
    }
    jobs: list[tuple[str, Callable[[], None]]] = [("ours, bfloat16", partial(ours, "ours, bfloat16"))]
    jobs += [(name, partial(_measure_training, options, arguments, name)) for name, options in trainings.items()]
    full = partial(build, "full_attention" + size, 0)
    others = {"full attention, bfloat16": full, "transformer_lm, bfloat16": partial(transformer_lm, arguments.tokens)}
    jobs += [(name, partial(_measure_model, make, arguments, name)) for name, make in others.items()]
    cannot = [name for name in trainings if "--fp16" in name] if not arguments.on_gpu else []
    return run_each(arguments, jobs, may_fail=[*others, *cannot])


def _measure_model(make: Callable[[], nn.Module], arguments: StageArguments, name: str) -> None:
    """A model under autocast, with Adam, without dropout."""
    device = arguments.device
    torch.manual_seed(1)
    model = make().to(device).train()
    _check_backend(model, arguments)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    pieces = [piece.to(device) for piece in _pieces(arguments)]

    def inputs_of(piece: Tensor) -> dict[str, Any]:
        decoder = getattr(model, "decoder", model)
        return {"inputs": decoder.inputs_of([piece])} if hasattr(decoder, "inputs_of") else {}

    def update(piece: Tensor, inputs: dict[str, Any]) -> None:
        with torch.autocast(device.type, torch.bfloat16):
            logits = model(piece[None], **inputs)[0]
        F.cross_entropy(logits.float().flatten(0, 1)[:-1], piece[1:]).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    _measure(name, pieces, inputs_of, update, arguments)


def _measure_training(options: str, arguments: StageArguments, name: str) -> None:
    """What ``fairseq-train`` does between two batches, with these options."""
    more = ["--criterion", "cross_entropy", "--batch-size", "1", "--arch", *options.split()]
    task, cfg = configured(more if arguments.on_gpu else [*more, "--cpu"])
    model: FairseqModel = task.build_model(cfg.model)
    trainer = Trainer(cfg, task, model, task.build_criterion(cfg.criterion))
    _check_backend(trainer.model, arguments)
    decoder, pieces = model.decoder, _pieces(arguments)
    dataset = PieceDataset(pieces, [len(piece) for piece in pieces], decoder.families, inputs=decoder.inputs)
    targets = [torch.cat([piece[1:], piece[:1]]) for piece in pieces]

    def collate(target: Tensor) -> dict[str, Any]:
        return dataset.collater([{"id": 0, "target": target}])

    def update(_target: Tensor, sample: dict[str, Any]) -> None:
        trainer.train_step([sample])

    _measure(name, targets, collate, update, arguments)


def _pieces(arguments: StageArguments) -> list[Tensor]:
    dictionary = six_track_dictionary()
    return [random_piece(arguments.tokens, dictionary, seed) for seed in range(4)]


def _check_backend(model: nn.Module, arguments: StageArguments) -> None:
    """Raises RuntimeError where plain PyTorch would pose as a kernel."""
    decoder = getattr(model, "decoder", model)
    if arguments.on_gpu and getattr(decoder, "has_kernels", False):
        for dtype in {torch.bfloat16, next(model.parameters()).dtype}:
            chosen = choose_backend(arguments.device, dtype, 64)
            if chosen.name != "triton":
                raise RuntimeError(f"the kernels are not used in {dtype}: {chosen.reason}")


def _measure(
    name: str,
    pieces: Sequence[Tensor],
    prepare: Callable[[Tensor], dict[str, Any]],
    update: Callable[[Tensor, dict[str, Any]], None],
    arguments: StageArguments,
) -> None:
    device = arguments.device
    if arguments.on_gpu:
        torch.cuda.reset_peak_memory_stats()
    prepared = [prepare(piece) for piece in pieces]
    began = time.perf_counter()
    update(pieces[0], prepared[0])
    synchronize(device)
    first = time.perf_counter() - began
    for piece, inputs in zip(pieces, prepared):  # every length of a list has been seen
        update(piece, inputs)

    def seconds_each(inputs_at_hand: bool, rounds: int) -> float:
        synchronize(device)
        began = time.perf_counter()
        for _ in range(rounds):
            for piece, inputs in zip(pieces, prepared):
                update(piece, inputs if inputs_at_hand else prepare(piece))
        synchronize(device)
        return (time.perf_counter() - began) / rounds / len(pieces)

    rounds = 5 if arguments.on_gpu else 1
    ready = min(seconds_each(True, rounds) for _ in range(3 if arguments.on_gpu else 1))
    alone = seconds_each(False, 1)
    peak = {"peak_GiB": torch.cuda.max_memory_allocated() / 2**30} if arguments.on_gpu else {}
    arguments.rows.add(
        name,
        tokens=arguments.tokens,
        ms=1e3 * ready,
        tokens_per_s=arguments.tokens / ready,
        ms_with_layouts=1e3 * alone,
        first_s=first,
        **peak,
    )


if __name__ == "__main__":
    sys.exit(main())
