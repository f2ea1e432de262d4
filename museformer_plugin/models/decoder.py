"""embed -> layers -> logits: over whole pieces at once, or one token of every stream at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
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
from ..fc_attention import PieceBars
from ..fc_attention.backends import try_kernels
from ..layer import BarAwareLayer
from ..logits import LogitsProjection
from ..positions import Positions
from ..recorded_steps import RecordedSteps
from ..rotary import RotaryPositions
from ..stream_positions import StreamPositions
from ..token_families import TokenFamilies
from .options import BarAwareConfig, check_options
from .protocol import AttentionCache, BatchInputs, MakeInputs

_STATE = "museformer_streams"
_NO_ATTENTION = {"attn": [None]}  # fairseq's search looks for weights to show

# receives, of each layer, the rows that incremental decoding needs
Keep = Callable[[Tensor, Tensor | None], None]


def _counts(bars: Sequence[PieceBars]) -> tuple[list[int], list[int]]:
    """Of each piece the tokens, and the complete bars."""
    return [piece.num_tokens for piece in bars], [piece.num_complete for piece in bars]


class Streams:
    """A batch of pieces being written: their caches and where each stands.

    ``latest`` int64 [3, K, B]: the K tokens before the next, the latest first, with their bar ids and beat ids;
    padding where there are fewer.
    """

    def __init__(self, cache: AttentionCache, positions: StreamPositions, latest: np.ndarray) -> None:
        self.cache = cache
        self.positions = positions
        self.latest = latest
        self.recorded = RecordedSteps()
        self.num_read = 0  # tokens read, where fairseq's own generator drives and counts

    def __len__(self) -> int:
        return len(self.positions)

    def select(self, indices: Sequence[int]) -> None:
        """Keep these streams in this order; for the identity nothing moves."""
        self.cache.select(indices)
        self.positions.select(indices)
        self.latest = self.latest[:, :, indices]

    def put(self, index: int, entering: Streams) -> None:
        """Let the one stream of ``entering``, which stays as it is, take the place of ``index``."""
        self.cache.put(index, entering.cache)
        self.positions.put(index, entering.positions)
        self.latest[:, :, index] = entering.latest[:, :, 0]


class BarAwareDecoder(FairseqIncrementalDecoder, ABC):
    """A ``BarAwareModel`` but for what its layers do, which subclasses say.

    Args:
        cfg: the options. Raises UserError where they do not fit together.
        dictionary: of one representation.
        make_layer: makes each of the layers.
        make_inputs: ``MakeInputs`` behind a first argument, the families of tokens.
        coarse: whether bars have summaries.
    """

    has_kernels = False  # whether its attention is that of ``fc_attention``, which has kernels on GPUs

    def __init__(
        self,
        cfg: BarAwareConfig,
        dictionary: Dictionary,
        make_layer: Callable[..., BarAwareLayer],
        make_inputs: Callable[..., BatchInputs],
        coarse: bool = False,
    ) -> None:
        check_options(cfg)
        super().__init__(dictionary)
        self.families = TokenFamilies(dictionary)
        self.inputs: MakeInputs = partial(make_inputs, self.families)
        self.dropout = cfg.dropout
        self.checkpoint_activations = cfg.checkpoint_activations
        width, heads = cfg.decoder_embed_dim, cfg.decoder_attention_heads
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
        self, pieces: Sequence[Tensor], bar_numbers: Sequence[np.ndarray] | None = None
    ) -> tuple[list[np.ndarray], list[PieceBars]]:
        """Token sequences without padding, begin token first, and their bars.

        ``bar_numbers``, int [bars or more] each: the numbers of their bars, which are else 1, 2, 3 ...
        """
        arrays = [piece.cpu().numpy() for piece in pieces]
        bars = [self.families.piece_bars(tokens) for tokens in arrays]
        if bar_numbers is not None:
            bars = [replace(piece, numbers=given[: len(piece.starts)]) for piece, given in zip(bars, bar_numbers)]
        return arrays, bars

    def inputs_of(self, pieces: Sequence[Tensor], bar_numbers: Sequence[np.ndarray] | None = None) -> BatchInputs:
        """What the model needs of pieces, as ``bars_of`` takes them."""
        return self.inputs(*self.bars_of(pieces, bar_numbers))

    def extract_features(self, tokens: Tensor, inputs: BatchInputs, keep: Keep | None = None) -> Tensor:
        """Normalised rows [T, D] before the logits, of pieces laid end to end, tokens int64 [T].

        ``keep`` receives the rows that incremental decoding needs, of one layer after the other.
        """
        positions = inputs.positions.to(tokens.device)
        highest_bar, highest_beat = int(inputs.positions.bars.max()), int(inputs.positions.beats.max())
        x = self.embedding(tokens, positions.bars, positions.beats, highest_bar, highest_beat)
        if self.previous is not None:
            indices = [torch.arange(length, device=tokens.device) for length in inputs.lengths]
            x = self.previous(x, torch.cat(indices))
        return self.final_norm(self.run_layers(self.drop(x), inputs, self.turn(positions, x), keep))

    def run_layers(self, x: Tensor, inputs: BatchInputs, by: Tensor | None, keep: Keep | None) -> Tensor:
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

    def turn(self, positions: Positions, like: Tensor) -> Tensor | None:
        """What queries and keys at these positions are turned by, if they are."""
        return None if self.rotary is None else self.rotary(positions, like)

    def drop(self, rows: Tensor) -> Tensor:
        """Dropout of embedded rows."""
        return F.dropout(rows, self.dropout, self.training)

    def read_prompts(
        self, prompts: Sequence[Tensor], bar_numbers: Sequence[np.ndarray] | None = None
    ) -> tuple[list[Tensor], Streams]:
        """Read prompts in one pass: int64 [n] each, begin token first.

        ``bar_numbers``: the numbers of the bars of each, those of the prompt first, then those of the bars to be
        written, in that order; then they go on one by one.

        Returns the logits [n, V] of each and the streams that go on from them.
        """
        read, bars = self.bars_of(prompts, bar_numbers)
        upcoming = [given[len(piece.starts) :] for given, piece in zip(bar_numbers, bars)] if bar_numbers else None
        inputs = self.inputs(read, bars)
        kept: list[tuple[Tensor, Tensor | None]] = []
        features = self.extract_features(torch.cat(list(prompts)), inputs, lambda *rows: kept.append(rows))
        cache = self.empty_cache(on_gpu=features.device.type == "cuda", expected=len(prompts))
        rows_of_pieces = zip(*(self._by_piece(rows, counts) for rows, counts in zip(zip(*kept), _counts(bars))))
        for index, (piece, (token_rows, summary_rows)) in enumerate(zip(bars, rows_of_pieces)):
            self.add_stream(cache, piece, token_rows, summary_rows, upcoming[index] if upcoming else ())
        positions = StreamPositions(self.families, read, bars, upcoming)
        lengths = list(inputs.lengths)
        streams = Streams(cache, positions, self._latest(read, inputs.positions))
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
        upcoming: Sequence[int],
    ) -> None:
        """Let a stream go on behind a prompt with these ``bars``, by what ``keep`` received of it.

        ``token_rows`` and ``summary_rows`` [L, 2, H, n, Dh] of its tokens and, where there are any, complete bars;
        ``upcoming``: the numbers of the bars to be written, as ``read_prompts`` takes them.
        """

    def _latest(self, prompts: Sequence[np.ndarray], positions: Positions) -> np.ndarray:
        """What ``Streams`` keeps of the last tokens of the prompts, int64 [3, K, B]."""
        count = 0 if self.previous is None else len(self.previous.weight)
        rows = np.stack([np.concatenate(prompts), positions.bars, positions.beats])
        nothing = np.tile([[self.dictionary.pad()], [0], [0]], count)
        ends = np.cumsum([len(prompt) for prompt in prompts])
        of_piece = [rows[:, end - len(prompt) : end] for prompt, end in zip(prompts, ends)]
        padded = [np.concatenate([nothing, piece], axis=1)[:, ::-1][:, :count] for piece in of_piece]
        return np.stack(padded, axis=2)

    def step(self, tokens: Tensor, streams: Streams) -> Tensor:
        """Read one token of every stream, int64 [B]; returns the logits [B, V] of what follows."""
        read, cache = tokens.cpu().numpy(), streams.cache
        positions = streams.positions.advance(read)
        rows = np.concatenate([np.stack([read, positions.bars, positions.beats])[:, None], streams.latest], axis=1)
        streams.latest = rows[:, : streams.latest.shape[1]]
        host = [*rows.reshape(-1, len(read)), *positions[2:], cache.begin_step()]
        inputs = torch.from_numpy(np.stack(host)).to(tokens.device)
        if cache.padded:
            logits = streams.recorded.run(lambda inputs: self._step(inputs, cache), inputs, cache.address, cache.shape)
        else:
            logits = self._step(inputs, cache)
        cache.end_step()
        for stream in np.flatnonzero(read == self.families.end_of_bar).tolist():
            self.end_bar(cache, stream, int(positions.bars[stream]))
        return logits

    def _step(self, inputs: Tensor, cache: AttentionCache) -> Tensor:
        """Logits [B, V] from int64 [3 K + 7, B].

        Rows: the new tokens and the K before them; the bar ids of these; their beat ids; of the new tokens the other
        positions, and the places in the cache.
        """
        *others, places = inputs[-4:]
        tokens, bars, beats = inputs[:-4].view(3, -1, len(places))
        x = self.embedding.project(tokens.flatten(), bars.flatten(), beats.flatten()).view(*tokens.shape, -1)
        x = x[0] if self.previous is None else self.previous.step(x, tokens != self.dictionary.pad())
        by = self.turn(Positions(bars[0], beats[0], *others), x)
        visible = cache.visible(places)
        for number, layer in enumerate(self.layers):
            x = layer.step(x, cache, number, places, visible, by)
        return self.output_projection(self.final_norm(x))

    def end_bar(self, cache: AttentionCache, stream: int, number: int) -> None:
        """What happens when a stream has completed the bar of this number."""

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

    def max_positions(self) -> int:
        """Pieces may be of any length: positions count bars and beats, by formula."""
        return 10**9
