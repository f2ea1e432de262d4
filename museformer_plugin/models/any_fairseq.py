"""Any other fairseq language model, such as ``lstm_lm`` and ``transformer_lm``, as a ``BarAwareModel`` that writes."""

from __future__ import annotations

import copy
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

import torch
from fairseq.models import FairseqIncrementalDecoder, FairseqModel
from torch import Tensor, nn

from ..errors import UserError
from ..token_families import TokenFamilies
from .protocol import BarAwareModel, Step

# fairseq keeps the options of its older models, such as lstm_lm, in one of these, which holds plain values alone
torch.serialization.add_safe_globals([Namespace])


class OwnStates:
    """A batch of pieces being written: of each its tokens [1, n] and the incremental state that its decoder keeps.

    They lie apart because a state's form is the decoder's own affair: streams that enter and leave move nothing.
    """

    def __init__(self, tokens: list[Tensor], states: list[dict[str, Any]]) -> None:
        self.tokens = tokens
        self.states = states

    def __len__(self) -> int:
        return len(self.tokens)

    def run(self, step: Step, tokens: Tensor, *recordable: object) -> tuple[Tensor, ...]:
        """See ``DecodingState``; nothing is recorded."""
        return step(tokens)

    def select(self, indices: Sequence[int]) -> None:
        """Keep these streams in this order, with repeats."""
        states = [self.states[index] for index in indices]
        self.states = [
            copy.deepcopy(state) if index in indices[:new] else state
            for new, (index, state) in enumerate(zip(indices, states))
        ]
        self.tokens = [self.tokens[index] for index in indices]

    def put(self, index: int, entering: OwnStates) -> None:
        """Let the one stream of ``entering``, which stays as it is, take the place of ``index``."""
        self.tokens[index] = entering.tokens[0]
        self.states[index] = copy.deepcopy(entering.states[0])


class AnyFairseqModel(nn.Module):
    """Writes with ``decoder``, one stream after the other, by the incremental state of its own.

    Raises UserError where the decoder has none.
    """

    def __init__(self, decoder: nn.Module, families: TokenFamilies) -> None:
        super().__init__()
        if not isinstance(decoder, FairseqIncrementalDecoder):
            raise UserError(f"{type(decoder).__name__} keeps no state while it writes; another --arch can write.")
        if getattr(decoder, "adaptive_softmax", None) is not None:
            raise UserError("A model with --adaptive-softmax-cutoff cannot write here; train one without it.")
        self.decoder = decoder
        self.families = families
        self.dictionary = families.dictionary

    def read_prompts(self, prompts: Sequence[Tensor], guides: None = None) -> tuple[list[Tensor], OwnStates]:
        """See ``BarAwareModel``; such a decoder reads one token at a time."""
        logits, states = [], []
        for prompt in prompts:
            state: dict[str, Any] = {}
            rows = [self._read(prompt[None, :length], state) for length in range(1, len(prompt) + 1)]
            logits.append(torch.cat(rows))
            states.append(state)
        return logits, OwnStates([prompt[None] for prompt in prompts], states)

    def step(self, tokens: Tensor, streams: OwnStates) -> Tensor:
        """See ``BarAwareModel``."""
        return self.advance(tokens, streams)

    def advance(self, tokens: Tensor, streams: OwnStates) -> Tensor:
        """See ``BarAwareModel``."""
        streams.tokens = [torch.cat([row, token.view(1, 1)], 1) for row, token in zip(streams.tokens, tokens)]
        rows = zip(streams.tokens, streams.states)
        return torch.cat([self._read(so_far, state) for so_far, state in rows])

    def end_bars(self, streams: OwnStates, ended: Sequence[int]) -> None:
        """Such a decoder knows no bars."""

    def _read(self, so_far: Tensor, state: dict[str, Any]) -> Tensor:
        """The logits [1, V] behind the tokens so far [1, n], all of which but the last ``state`` has read."""
        return self.decoder(so_far, incremental_state=state)[0][:, -1]


def writing_model(model: FairseqModel, families: TokenFamilies) -> BarAwareModel:
    """The decoder of a model of ours; around that of another, what lets it write."""
    decoder = model.decoder
    return decoder if hasattr(decoder, "read_prompts") else AnyFairseqModel(decoder, families)


def facts_of(model: FairseqModel) -> dict[str, str]:
    """What a report says of any model's architecture, by name."""
    return model.decoder.facts() if hasattr(model.decoder, "facts") else {"fairseq's": type(model).__name__}
