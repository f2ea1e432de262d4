"""embed -> layers -> logits: over whole pieces at once, or one token of every stream at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from fairseq.data import Dictionary
from fairseq.models import FairseqIncrementalDecoder
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..embedding import BarAwareEmbedding, PreviousTokens
from ..fc_attention import PieceBars, UpcomingBar
from ..fc_attention.backends import try_kernels
from ..fc_attention.lasting_plans import lasting_plans
from ..layer import BarAwareLayer
from ..logits import LogitsProjection
from ..positions import Positions
from ..rotary import RotaryPositions, Turn
from ..steering.condition_embedding import ConditionEmbedding
from ..steering.conditions import ConditionColumns
from ..steering.guide import BarGuide
from ..stream_positions import StreamPositions
from ..token_families import TokenFamilies
from .options import BarAwareConfig, check_options
from .protocol import AttentionCache, BatchInputs, MakeInputs
from .streams import Streams, latest_tokens

_STATE = "museformer_streams"
# buffers that say which positions weights have learnt
_MARK_OF_ONSETS, _LATER_MARKS = "rotary.counts_from_onset", ("rotary.counts_from_bar", "embedded_positions")
_NO_ATTENTION = {"attn": [None]}  # fairseq's search looks for weights to show

# receives, of each layer, the rows that incremental decoding needs
Keep = Callable[[Tensor, Tensor | None], None]


def _counts(bars: Sequence[PieceBars]) -> tuple[list[int], list[int]]:
    """Of each piece the tokens, and the complete bars."""
    return [piece.num_tokens for piece in bars], [piece.num_complete for piece in bars]


class BarAwareDecoder(FairseqIncrementalDecoder, ABC):
    """A ``BarAwareModel`` but for what its layers do, which subclasses say.

    Args:
        cfg: the options. Raises UserError where they do not fit together.
        dictionary: of one representation.
        make_layer: makes each of the layers.
        make_inputs: ``MakeInputs`` behind a first argument, the families of tokens.
        coarse: whether bars have summaries.
        columns: how what is said of bars is laid out, where the model is steerable.
    """

    has_kernels = False  # whether its attention is that of ``fc_attention``, which has kernels on GPUs

    def __init__(
        self,
        cfg: BarAwareConfig,
        dictionary: Dictionary,
        make_layer: Callable[..., BarAwareLayer],
        make_inputs: Callable[..., BatchInputs],
        coarse: bool = False,
        columns: ConditionColumns | None = None,
    ) -> None:
        check_options(cfg)
        super().__init__(dictionary)
        self.families = TokenFamilies(dictionary)
        self.inputs: MakeInputs = partial(make_inputs, self.families)
        self.dropout = cfg.dropout
        self.checkpoint_activations = cfg.checkpoint_activations
        width, heads = cfg.decoder_embed_dim, cfg.decoder_attention_heads
        # first of all, where its parameters always were: optimizers keep their state in the order of parameters
        self.conditions = None if columns is None else ConditionEmbedding(columns.width, width)
        self.embedding = BarAwareEmbedding(
            len(dictionary),
            dictionary.pad(),
            cfg.token_embed_dim,
            cfg.bar_embed_dim,
            cfg.beat_embed_dim,
            width,
            coarse,
        )
        self.layers = nn.ModuleList(
            make_layer(width, heads, cfg.decoder_ffn_embed_dim, cfg.dropout, cfg.attention_dropout, coarse, cfg.qk_norm)
            for _ in range(cfg.decoder_layers)
        )
        self.previous = PreviousTokens(cfg.previous_tokens, width) if cfg.previous_tokens else None
        self.rotary = None
        if cfg.positions == "rotary":
            self.rotary = RotaryPositions(width // heads, cfg.rotary_index == "onset")
        elif cfg.qk_norm:
            self.register_buffer("embedded_positions", torch.ones(()))  # a mark as rotary ones have
        self.condition_columns = columns
        self.repeat_heads = 0  # in which queries of a bar that repeats another stand in that one
        if columns is not None and self.rotary is not None:
            self.repeat_heads = heads // 2
            # in the weights, so that those which have learnt to be told without it are refused and do not go on worse
            self.register_buffer("looks_back", torch.ones(()))
        self.final_norm = nn.LayerNorm(width)
        self.output_projection = LogitsProjection(width, len(dictionary), bias=False)
        nn.init.normal_(self.output_projection.weight, std=width**-0.5)
        self._head_width = width // heads
        self._try_kernels()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> BarAwareDecoder:
        """What ``to``, ``half``, ``cuda`` and the like come down to; the kernels are tried here, not in a forward."""
        super()._apply(fn, recurse)
        self._try_kernels()
        return self

    def _try_kernels(self) -> None:
        if self.has_kernels:
            weight = self.output_projection.weight
            try_kernels(weight.device, weight.dtype, self._head_width)

    @abstractmethod
    def facts(self) -> dict[str, str]:
        """What a report says of the architecture, by name."""

    def forward(
        self,
        prev_output_tokens: Tensor,
        src_lengths: Tensor | None = None,
        inputs: BatchInputs | None = None,
        incremental_state: dict[str, Any] | None = None,
        **unused: Any,
    ) -> tuple[Tensor, dict[str, Any]]:
        """Logits [B, L, V] of padded int64 ``prev_output_tokens`` [B, L]; rows at padding are 0.

        ``inputs`` come with the batch from the data workers, and are made here when they do not. With
        ``incremental_state`` only the tokens not read before are, and their logits returned.
        """
        if incremental_state is not None:
            return self._read_on(prev_output_tokens, incremental_state), _NO_ATTENTION
        if inputs is None:
            lengths = (prev_output_tokens != self.dictionary.pad()).sum(dim=1).tolist()
            inputs = self.inputs_of([row[:length] for row, length in zip(prev_output_tokens, lengths)])
        lengths = list(inputs.lengths)
        tokens = torch.cat([row[:length] for row, length in zip(prev_output_tokens, lengths)])
        logits = self.output_projection(self.extract_features(tokens, inputs))
        padded = torch.nn.utils.rnn.pad_sequence(logits.split(lengths), batch_first=True)
        missing = prev_output_tokens.shape[1] - padded.shape[1]
        return (F.pad(padded, (0, 0, 0, missing)) if missing else padded), _NO_ATTENTION

    def bars_of(
        self, pieces: Sequence[Tensor], guides: Sequence[BarGuide] | None = None
    ) -> tuple[list[np.ndarray], list[PieceBars]]:
        """Token sequences without padding, begin token first, and their bars, numbered as ``guides`` say."""
        arrays = [piece.cpu().numpy() for piece in pieces]
        bars = [self.families.piece_bars(tokens) for tokens in arrays]
        if guides is not None:
            bars = [guide.name_bars(piece) for piece, guide in zip(bars, guides)]
        return arrays, bars

    def inputs_of(self, pieces: Sequence[Tensor], guides: Sequence[BarGuide] | None = None) -> BatchInputs:
        """What the model needs of pieces, as ``bars_of`` takes them."""
        return self._inputs_of(*self.bars_of(pieces, guides), guides)

    def _inputs_of(
        self, arrays: list[np.ndarray], bars: list[PieceBars], guides: Sequence[BarGuide] | None
    ) -> BatchInputs:
        if self.condition_columns is None or guides is None:
            return self.inputs(arrays, bars)
        said = [guide.first(len(piece.starts)).features for guide, piece in zip(guides, bars)]
        return self.inputs(arrays, bars, features=said)

    def extract_features(self, tokens: Tensor, inputs: BatchInputs, keep: Keep | None = None) -> Tensor:
        """Normalised rows [T, D] before the logits, of pieces laid end to end, tokens int64 [T].

        ``keep`` receives the rows that incremental decoding needs, of one layer after the other.
        """
        fed = inputs.feed.on(tokens.device)
        positions = Positions(*fed["positions"].unbind())
        highest_bar, highest_beat = int(inputs.positions.bars.max()), int(inputs.positions.beats.max())
        x = self.embedding(tokens, positions.bars, positions.beats, highest_bar, highest_beat)
        if self.previous is not None:
            x = self.previous(x, fed["indices"])
        rows = self.final_norm(self.run_layers(self.drop(x), inputs, self.turn(positions, x), keep))
        if self.conditions is not None:
            rows = rows + F.embedding(fed["bars_of_tokens"], self.conditions.before_logits(fed["features"]))
        return rows

    def run_layers(self, x: Tensor, inputs: BatchInputs, by: Turn | None, keep: Keep | None) -> Tensor:
        """Embedded tokens [T, D], turned ``by`` their positions in attention -> [T, D].

        Here for layers that need of a batch the lengths of its pieces alone.
        """
        for layer in self.layers:
            x = self.run_layer(layer, x, inputs.lengths, by, keep)
        return x

    def run_layer(self, layer: nn.Module, *arguments: Any) -> Any:
        """``layer(*arguments)``, whose activations are kept or not as the options say."""
        if self.checkpoint_activations and self.training:
            return checkpoint(layer, *arguments, use_reentrant=False)
        return layer(*arguments)

    def turn(self, positions: Positions, like: Tensor) -> Turn | None:
        """What queries and keys at these positions are turned by, if they are."""
        return None if self.rotary is None else self.rotary(positions, like)

    def look_back(self, by: Turn | None, bars: Tensor) -> Turn | None:
        """``by``, where the queries of some heads stand so many bars, [n], before their own, if the model has such."""
        if self.rotary is None or by is None or not self.repeat_heads:
            return by
        return self.rotary.looking_back(by, bars, self.layers[0].heads, self.repeat_heads)

    def drop(self, rows: Tensor) -> Tensor:
        """Dropout of embedded rows."""
        return F.dropout(rows, self.dropout, self.training)

    def read_prompts(
        self, prompts: Sequence[Tensor], guides: Sequence[BarGuide] | None = None
    ) -> tuple[list[Tensor], Streams]:
        """Read prompts in one pass: int64 [n] each, begin token first.

        ``guides``: of the bars of each, those of the prompt first, then those to be written, in that order; then their
        numbers go on one by one.

        Returns the logits [n, V] of each and the streams that go on from them.
        """
        read, bars = self.bars_of(prompts, guides)
        upcoming = [guide.upcoming(len(piece.starts)) for guide, piece in zip(guides, bars)] if guides else None
        inputs = self._inputs_of(read, bars, guides)
        kept: list[tuple[Tensor, Tensor | None]] = []
        features = self.extract_features(torch.cat(list(prompts)), inputs, lambda *rows: kept.append(rows))
        cache = self.empty_cache(on_gpu=features.device.type == "cuda", expected=len(prompts))
        rows_of_pieces = zip(*(self._by_piece(rows, counts) for rows, counts in zip(zip(*kept), _counts(bars))))
        for index, (piece, (token_rows, summary_rows)) in enumerate(zip(bars, rows_of_pieces)):
            self.add_stream(cache, piece, token_rows, summary_rows, upcoming[index] if upcoming else ())
        numbers = [[bar.number for bar in of_stream] for of_stream in upcoming] if upcoming else None
        positions = StreamPositions(self.families, read, bars, numbers, features.device)
        lengths = list(inputs.lengths)
        count = 0 if self.previous is None else len(self.previous.weight)
        latest = torch.from_numpy(latest_tokens(read, inputs.positions, count, self.dictionary.pad()))
        said = None if self.conditions is None else self.conditions.of_streams(bars, guides)
        streams = Streams(cache, positions, latest.to(features.device), said)
        return list(self.output_projection(features).split(lengths)), streams

    @staticmethod
    def _by_piece(rows: Sequence[Tensor | None], counts: Sequence[int]) -> Sequence[Tensor | None]:
        """Of each layer what ``keep`` received, [n, 2, H, Dh] or None -> of each piece [L, 2, H, count, Dh] or None."""
        if rows[0] is None:
            return [None] * len(counts)
        return torch.stack(list(rows)).permute(0, 2, 3, 1, 4).split(list(counts), dim=3)

    @abstractmethod
    def empty_cache(self, on_gpu: bool, expected: int) -> AttentionCache:
        """The state of attention for as many streams as are ``expected``."""

    @abstractmethod
    def add_stream(
        self,
        cache: AttentionCache,
        bars: PieceBars,
        token_rows: Tensor,
        summary_rows: Tensor | None,
        upcoming: Sequence[UpcomingBar],
    ) -> None:
        """Let a stream go on behind a prompt with these ``bars``, by what ``keep`` received of it.

        ``token_rows`` and ``summary_rows`` [L, 2, H, n, Dh] of its tokens and, where there are any, complete bars;
        ``upcoming``: the bars to be written, as the guides of ``read_prompts`` have them.
        """

    def step(self, tokens: Tensor, streams: Streams) -> Tensor:
        """Read one token of every stream, int64 [B]; returns the logits [B, V] of what follows."""
        (logits,) = streams.run(lambda tokens: (self.advance(tokens, streams),), tokens)
        self.end_bars(streams, np.flatnonzero(tokens.cpu().numpy() == self.families.end_of_bar).tolist())
        return logits.clone()

    def advance(self, tokens: Tensor, streams: Streams) -> Tensor:
        """See ``BarAwareModel``: the logits [B, V] behind tokens int64 [B]."""
        cache = streams.cache
        positions = streams.positions.advance(tokens)
        rows = torch.stack([tokens, positions.bars, positions.beats])[:, None]
        if self.previous is not None:
            rows = torch.cat([rows, streams.latest], 1)
            streams.latest.copy_(rows[:, :-1])
        x = self.embedding.project(*rows.flatten(1)).view(rows.shape[1], len(tokens), -1)
        x = x[0] if self.previous is None else self.previous.step(x, rows[0] != self.dictionary.pad())
        by = self.turn(positions, x)
        if streams.said is not None:
            x, by = x + streams.said.at_embedding().to(x.dtype), self.look_back(by, streams.said.bars_back())
        visible = cache.visible()
        with lasting_plans(tokens.device):
            for number, layer in enumerate(self.layers):
                x = layer.step(x, cache, number, visible, by)
        cache.advance()
        x = self.final_norm(x)
        return self.output_projection(x if streams.said is None else x + streams.said.before_logits().to(x.dtype))

    def end_bars(self, streams: Streams, ended: Sequence[int]) -> None:
        """See ``BarAwareModel``."""
        if not ended:
            return
        with lasting_plans(streams.latest.device):
            self.file_bars(streams, ended)
        if streams.said is not None:
            for stream in ended:
                streams.said.end_bar(stream)

    def file_bars(self, streams: Streams, ended: Sequence[int]) -> None:
        """What attention does when these streams have completed their bars, one at least."""

    def _read_on(self, prev_output_tokens: Tensor, incremental_state: dict[str, Any]) -> Tensor:
        """fairseq's incremental protocol: logits [B, n, V] of the n tokens not read before."""
        streams: Streams | None = incremental_state.get(_STATE)
        if streams is None:
            logits, streams = self.read_prompts(list(prev_output_tokens))
            incremental_state[_STATE] = streams
            streams.num_read = prev_output_tokens.shape[1]
            return torch.stack(logits)
        unread = prev_output_tokens[:, streams.num_read :].unbind(1)
        streams.num_read += len(unread)
        return torch.stack([self.step(tokens, streams) for tokens in unread], dim=1)

    def reorder_incremental_state_scripting(self, incremental_state: dict[str, Any], new_order: Tensor) -> None:
        """fairseq asks for this at every step, mostly with the identity, which costs nothing."""
        if _STATE in incremental_state:
            incremental_state[_STATE].select(new_order.tolist())

    def upgrade_state_dict_named(self, state_dict: dict[str, Tensor], name: str) -> dict[str, Tensor]:
        """As fairseq asks of weights that it loads, before it asks the parts of the decoder.

        Those of a model that could not be told anything do not look back yet. With normalised queries and keys, which
        all rotary sizes have, neither embedded positions nor those that count from the bar once left a mark: weights
        with none are taken for what the model is.
        """
        marked = any(f"{name}.{mark}" in state_dict for mark in (_MARK_OF_ONSETS, *_LATER_MARKS))
        if f"{name}.layers.0.gain" in state_dict and not marked:
            marks = {f"{name}.{mark}": one for mark, one in self.named_buffers() if mark in _LATER_MARKS}
            state_dict.update(marks)
        if self.repeat_heads and not any(key.startswith(f"{name}.conditions") for key in state_dict):
            state_dict[f"{name}.looks_back"] = self.looks_back
        return super().upgrade_state_dict_named(state_dict, name)

    def max_positions(self) -> int:
        """Pieces may be of any length: positions count bars and beats, by formula."""
        return 10**9
