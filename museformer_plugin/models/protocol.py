"""What task, datasets, generator and evaluation know of an architecture, and no more.

An architecture is a fairseq language model whose ``decoder`` is a ``BarAwareModel``. ``decoder.BarAwareDecoder`` is one
but for its layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from fairseq.data import Dictionary
from torch import Tensor

from ..feeding import Feed
from ..positions import Positions
from ..steering.guide import BarGuide
from ..token_families import TokenFamilies


class BatchInputs(Protocol):
    """What a model needs of a batch besides its tokens: the positions [T] of pieces laid end to end, and their lengths.

    It is no tuple, list or dict, so that fairseq and PyTorch hand it on as it is.
    """

    @property
    def positions(self) -> Positions:
        """Of all tokens, NumPy arrays."""
        ...

    @property
    def lengths(self) -> Sequence[int]:
        """Tokens of each piece."""
        ...

    @property
    def feed(self) -> Feed:
        """The arrays on the device of the model, ``positions`` and ``indices`` among them, as ``FedInputs`` says."""
        ...


# From pieces, int [n] each with the begin token first, and their bars; to a steerable model also ``features``, float32
# [bars, C] each. It goes to the data workers, so that it is to be pickled and holds no tensors.
MakeInputs = Callable[..., BatchInputs]

# From the latest token of every stream, int64 [B], to rows [B, ...], the logits first.
Step = Callable[[Tensor], tuple[Tensor, ...]]


class AttentionCache(Protocol):
    """What a ``BarAwareDecoder`` needs of its attention's state, such as ``BarCache``.

    A step is ``begin_step``, ``visible``, then ``attend`` once per layer, ``advance``, then ``end_step``. Where
    ``padded``, nothing between the first and the last depends on the host but ``address`` and ``shape``, and
    ``advance`` changes what ``changed`` lists alone, so that a step can be recorded.
    """

    padded: bool

    def begin_step(self) -> None:
        """Let there be memory for one more token of every stream."""
        ...

    def visible(self) -> Tensor | None:
        """For ``attend``."""
        ...

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, visible: Any) -> Tensor:
        """Add the new tokens' keys and values, and attend: q, k, v [B, H, Dh] -> [B, H, Dh]."""
        ...

    def advance(self) -> None:
        """Every stream has one more token, as far as the device counts them."""
        ...

    def end_step(self) -> None:
        """Every stream has one more token, as the host counts them."""
        ...

    def select(self, indices: Sequence[int]) -> None:
        """As of ``DecodingState``."""
        ...

    def put(self, index: int, entering: Any) -> None:
        """As of ``DecodingState``."""
        ...


class DecodingState(Protocol):
    """A batch of pieces being written, each a stream."""

    def __len__(self) -> int:
        """How many streams there are."""
        ...

    def run(
        self,
        step: Step,
        tokens: Tensor,
        changed: Sequence[Tensor] = (),
        read: Sequence[Tensor] = (),
        random: torch.Generator | None = None,
    ) -> tuple[Tensor, ...]:
        """``step(tokens)``, which calls ``BarAwareModel.advance`` once: recorded and played again where that pays.

        The results may be overwritten by the step after it. A step that is to be recorded reads nothing to the host,
        and changes of what it goes on from ``changed``, in place, and draws from ``random`` alone; of tensors that may
        move between steps it also reads ``read``.
        """
        ...

    def select(self, indices: Sequence[int]) -> None:
        """Keep these streams in this order, with repeats; for the identity nothing moves."""
        ...

    def put(self, index: int, entering: DecodingState) -> None:
        """Let the one stream of ``entering``, which stays as it is, take the place of ``index``."""
        ...


class WritingModel(Protocol):
    """What pieces are written with."""

    dictionary: Dictionary
    families: TokenFamilies

    def read_prompts(
        self, prompts: Sequence[Tensor], guides: Sequence[BarGuide] | None = None
    ) -> tuple[list[Tensor], DecodingState]:
        """Read prompts, int64 [n] each, begin token first: the logits [n, V] of each, and the streams that go on."""
        ...

    def advance(self, tokens: Tensor, streams: DecodingState) -> Tensor:
        """Inside of ``streams.run``: read one token of every stream, int64 [B]; the logits [B, V] of what follows.

        Before the next, ``end_bars`` must be told of the tokens that ended bars.
        """
        ...

    def end_bars(self, streams: DecodingState, ended: Sequence[int]) -> None:
        """The latest token read of each of these streams ended a bar."""
        ...


class BarAwareModel(WritingModel, Protocol):
    """The decoder of an architecture."""

    inputs: MakeInputs

    def forward(
        self,
        prev_output_tokens: Tensor,
        src_lengths: Tensor | None = None,
        inputs: BatchInputs | None = None,
        incremental_state: dict[str, Any] | None = None,
    ) -> tuple[Tensor, dict[str, Any]]:
        """Logits [B, L, V] of padded int64 ``prev_output_tokens`` [B, L]; ``inputs`` of them, else made here."""
        ...

    def step(self, tokens: Tensor, streams: DecodingState) -> Tensor:
        """Read one token of every stream, int64 [B]; the logits [B, V] of what follows.

        It is ``advance`` and ``end_bars`` at once, for which the host reads the tokens.
        """
        ...

    def facts(self) -> dict[str, str]:
        """What a report says of the architecture, by name."""
        ...
