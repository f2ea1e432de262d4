"""embed -> layers -> logits: over whole pieces at once, or one token of every stream at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from fairseq.data import Dictionary
from fairseq.models import FairseqIncrementalDecoder
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .embedding import BarAwareEmbedding, PreviousTokens
from .fc_attention import BarCache, BarLayout
from .fc_attention.backends import try_kernels
from .layer import MuseformerLayer, Turns
from .packed_weights import PackableLinear
from .recorded_steps import RecordedSteps
from .rotary import RotaryPositions
from .token_families import StreamCoordinates, TokenFamilies

_STATE = "museformer_streams"
_NO_ATTENTION = {"attn": [None]}  # fairseq's search looks for weights to show


class Streams:
    """A batch of pieces being written: their caches and where each stands.

    ``latest`` int64 [3, K, B]: the K tokens before the next, the latest first, with their bar ids and beat ids;
    padding where there are fewer.
    """

    def __init__(self, cache: BarCache, coordinates: StreamCoordinates, latest: np.ndarray) -> None:
        self.cache = cache
        self.coordinates = coordinates
        self.latest = latest
        self.recorded = RecordedSteps()
        self.num_read = 0  # tokens read, where fairseq's own generator drives and counts

    def __len__(self) -> int:
        return len(self.coordinates)

    def select(self, numbers: Sequence[int]) -> None:
        """Keep these streams in this order; for the identity nothing moves."""
        self.cache.select(numbers)
        self.coordinates.select(numbers)
        self.latest = self.latest[:, :, numbers]

    def put(self, number: int, entering: Streams) -> None:
        """Let the one stream of ``entering``, which stays as it is, take the place of ``number``."""
        self.cache.put(number, entering.cache)
        self.coordinates.put(number, entering.coordinates)
        self.latest[:, :, number] = entering.latest[:, :, 0]


class MuseformerDecoder(FairseqIncrementalDecoder):
    """Museformer's only stack. ``cfg`` is a ``MuseformerConfig``."""

    def __init__(self, cfg: Any, structure_bars: tuple[int, ...], dictionary: Dictionary) -> None:
        super().__init__(dictionary)
        self.families = TokenFamilies(dictionary)
        self.structure_bars = structure_bars
        self.coarse = not cfg.no_coarse_attention
        self.dropout = cfg.dropout
        self.checkpoint_activations = cfg.checkpoint_activations
        width = cfg.decoder_embed_dim
        self.embedding = BarAwareEmbedding(
            len(dictionary),
            dictionary.pad(),
            cfg.token_embed_dim,
            cfg.bar_embed_dim,
            cfg.beat_embed_dim,
            width,
            self.coarse,
        )
        self.layers = nn.ModuleList(
            MuseformerLayer(
                width,
                cfg.decoder_attention_heads,
                cfg.decoder_ffn_embed_dim,
                cfg.dropout,
                cfg.attention_dropout,
                self.coarse,
                cfg.qk_norm,
            )
            for _ in range(cfg.decoder_layers)
        )
        self.previous = PreviousTokens(cfg.previous_tokens, width) if cfg.previous_tokens else None
        self.rotary = RotaryPositions(width // cfg.decoder_attention_heads) if cfg.positions == "rotary" else None
        self.final_norm = nn.LayerNorm(width)
        self.output_projection = PackableLinear(width, len(dictionary), bias=False)
        nn.init.normal_(self.output_projection.weight, std=width**-0.5)
        self._head_width = width // cfg.decoder_attention_heads
        self._try_kernels()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> MuseformerDecoder:
        """What ``to``, ``half``, ``cuda`` and the like come down to; the kernels are tried here, not in a forward."""
        super()._apply(fn, recurse)
        self._try_kernels()
        return self

    def _try_kernels(self) -> None:
        weight = self.output_projection.weight
        try_kernels(weight.device, weight.dtype, self._head_width)

    def forward(
        self,
        prev_output_tokens: Tensor,
        src_lengths: Tensor | None = None,
        layout: BarLayout | None = None,
        coordinates: np.ndarray | None = None,
        incremental_state: dict[str, Any] | None = None,
        **unused: Any,
    ) -> tuple[Tensor, dict[str, Any]]:
        """Logits [B, L, V] of padded int64 ``prev_output_tokens`` [B, L]; rows at padding are 0.

        ``layout`` and ``coordinates`` (int64 [3, T], pieces end to end, see ``TokenFamilies``) come with the batch
        from the data workers, and are made here when they do not. With ``incremental_state`` only the tokens not read
        before are, and their logits returned.
        """
        if incremental_state is not None:
            return self._read_on(prev_output_tokens, incremental_state), _NO_ATTENTION
        if layout is None or coordinates is None:
            lengths = (prev_output_tokens != self.dictionary.pad()).sum(dim=1).tolist()
            layout, coordinates = self.lay_out([row[:length] for row, length in zip(prev_output_tokens, lengths)])
        lengths = [piece.num_tokens for piece in layout.pieces]
        tokens = torch.cat([row[:length] for row, length in zip(prev_output_tokens, lengths)])
        features = self.extract_features(tokens, layout, coordinates)
        logits = self.output_projection(features)
        padded = torch.nn.utils.rnn.pad_sequence(logits.split(lengths), batch_first=True)
        missing = prev_output_tokens.shape[1] - padded.shape[1]
        return (F.pad(padded, (0, 0, 0, missing)) if missing else padded), _NO_ATTENTION

    def lay_out(
        self, pieces: Sequence[Tensor], bar_numbers: Sequence[np.ndarray] | None = None
    ) -> tuple[BarLayout, np.ndarray]:
        """Bars and coordinates (int64 [3, T]) of token sequences without padding, begin token first.

        ``bar_numbers``, int [bars or more] each: the numbers of their bars, which are else 1, 2, 3 ...
        """
        arrays = [piece.cpu().numpy() for piece in pieces]
        bars = [self.families.piece_bars(tokens) for tokens in arrays]
        if bar_numbers is not None:
            bars = [replace(piece, numbers=given[: len(piece.starts)]) for piece, given in zip(bars, bar_numbers)]
        coordinates = np.concatenate([self.families.coordinates(tokens) for tokens in arrays], axis=1)
        return BarLayout.build(bars, self.structure_bars, self.coarse), coordinates

    def extract_features(
        self, tokens: Tensor, layout: BarLayout, coordinates: np.ndarray, cache_rows: list | None = None
    ) -> Tensor:
        """Normalised rows [T, D] before the logits, of pieces laid end to end, tokens int64 [T].

        ``cache_rows`` collects, per layer, what incremental decoding needs (see ``MuseformerLayer``).
        """
        device = tokens.device
        bars = torch.from_numpy(layout.bar_ids).to(device, non_blocking=True)
        beats, onsets, indices = torch.from_numpy(coordinates).to(device, non_blocking=True).unbind()
        x = self.embedding(tokens, bars, beats, int(layout.bar_ids.max()), int(coordinates[0].max()))
        if self.previous is not None:
            x = self.previous(x, torch.cat([torch.arange(piece.num_tokens, device=device) for piece in layout.pieces]))
        x = self._drop(x)
        s = summary_bars = None
        if self.coarse:
            summary_bars = torch.from_numpy(layout.summary_bar_ids).to(device, non_blocking=True)
            s = self._drop(self.embedding.summaries(summary_bars))
        turns = Turns(self._turn(bars, onsets, indices, x), self._turn_of_summaries(summary_bars, x))
        keep = None if cache_rows is None else lambda *rows: cache_rows.append(rows)
        for layer in self.layers:
            if self.checkpoint_activations and self.training:
                x, s = checkpoint(layer, x, s, layout, turns, use_reentrant=False)
            else:
                x, s = layer(x, s, layout, turns, keep)
        return self.final_norm(x)

    def _turn(self, bars: Tensor, onsets: Tensor, indices: Tensor, like: Tensor) -> Tensor | None:
        return None if self.rotary is None else self.rotary(bars, onsets, indices, like)

    def _turn_of_summaries(self, bars: Tensor | None, like: Tensor) -> Tensor | None:
        """A summary stands at the beginning of its bar."""
        if bars is None:
            return None
        start = torch.zeros_like(bars)
        return self._turn(bars, start, start, like)

    def _drop(self, rows: Tensor) -> Tensor:
        return F.dropout(rows, self.dropout, self.training)

    def read_prompts(
        self, prompts: Sequence[Tensor], bar_numbers: Sequence[np.ndarray] | None = None
    ) -> tuple[list[Tensor], Streams]:
        """Read prompts in one pass: int64 [n] each, begin token first.

        ``bar_numbers``: the numbers of the bars of each, those of the prompt first, then those of the bars to be
        written, in that order; then they go on one by one.

        Returns the logits [n, V] of each and the streams that go on from them.
        """
        layout, coordinates = self.lay_out(prompts, bar_numbers)
        cache_rows: list[tuple[Tensor, Tensor | None]] = []
        features = self.extract_features(torch.cat(list(prompts)), layout, coordinates, cache_rows)
        token_rows = torch.stack([tokens for tokens, _ in cache_rows]).permute(0, 2, 3, 1, 4)
        summary_rows = (
            torch.stack([summaries for _, summaries in cache_rows]).permute(0, 2, 3, 1, 4) if self.coarse else None
        )
        on_gpu = features.device.type == "cuda"
        cache = BarCache(self.structure_bars, self.coarse, padded=on_gpu, expected=len(prompts))
        start = first_summary = 0
        for index, piece in enumerate(layout.pieces):
            end, last_summary = start + piece.num_tokens, first_summary + piece.num_complete
            cache.add_stream(
                piece,
                token_rows[:, :, :, start:end],
                summary_rows[:, :, :, first_summary:last_summary] if self.coarse else None,
                () if bar_numbers is None else bar_numbers[index][len(piece.starts) :],
            )
            start, first_summary = end, last_summary
        lengths = [piece.num_tokens for piece in layout.pieces]
        read = [prompt.cpu().numpy() for prompt in prompts]
        streams = Streams(cache, StreamCoordinates(self.families, read), self._latest(read, layout, coordinates))
        return list(self.output_projection(features).split(lengths)), streams

    def _latest(self, prompts: Sequence[np.ndarray], layout: BarLayout, coordinates: np.ndarray) -> np.ndarray:
        """What ``Streams`` keeps of the last tokens of the prompts, int64 [3, K, B]."""
        count = 0 if self.previous is None else len(self.previous.weight)
        rows = np.stack([np.concatenate(prompts), layout.bar_ids, coordinates[0]])
        nothing = np.tile([[self.dictionary.pad()], [0], [0]], count)
        ends = np.cumsum([len(prompt) for prompt in prompts])
        of_piece = [rows[:, end - len(prompt) : end] for prompt, end in zip(prompts, ends)]
        padded = [np.concatenate([nothing, piece], axis=1)[:, ::-1][:, :count] for piece in of_piece]
        return np.stack(padded, axis=2)

    def step(self, tokens: Tensor, streams: Streams) -> Tensor:
        """Read one token of every stream, int64 [B]; returns the logits [B, V] of what follows."""
        read, cache = tokens.cpu().numpy(), streams.cache
        beats, onsets, indices = streams.coordinates.advance(read)
        rows = np.concatenate([np.stack([read, cache.bar_numbers, beats])[:, None], streams.latest], axis=1)
        streams.latest = rows[:, : streams.latest.shape[1]]
        host = np.concatenate([rows.reshape(-1, len(read)), np.stack([onsets, indices, cache.begin_step()])])
        inputs = torch.from_numpy(host).to(tokens.device)
        if cache.padded:
            logits = streams.recorded.run(lambda inputs: self._step(inputs, cache), inputs, cache.address, cache.shape)
        else:
            logits = self._step(inputs, cache)
        cache.end_step()
        for stream in np.flatnonzero(read == self.families.end_of_bar).tolist():
            self._end_bar(stream, streams)
        return logits

    def _step(self, inputs: Tensor, cache: BarCache) -> Tensor:
        """Logits [B, V] from int64 [3 K + 6, B].

        Rows: the new tokens and the K before them; the bar ids of these; their beat ids; of the new tokens the onsets,
        the indices in the bar, and the places in the cache.
        """
        onsets, indices, places = inputs[-3:]
        tokens, bars, beats = inputs[:-3].view(3, -1, len(places))
        x = self.embedding.project(tokens.flatten(), bars.flatten(), beats.flatten()).view(*tokens.shape, -1)
        x = x[0] if self.previous is None else self.previous.step(x, tokens != self.dictionary.pad())
        by = self._turn(bars[0], onsets, indices, x)
        visible = cache.visible(places)
        for number, layer in enumerate(self.layers):
            x = layer.step(x, cache, number, places, visible, by)
        return self.output_projection(self.final_norm(x))

    def _end_bar(self, stream: int, streams: Streams) -> None:
        """Summarise the bar that stream has completed, once per layer."""
        rows = None
        if self.coarse:
            bar_rows = streams.cache.own_bar(stream)
            bar = torch.tensor([streams.cache.bar_numbers[stream]], device=bar_rows.device)
            s = self.embedding.summaries(bar)
            by = self._turn_of_summaries(bar, s)
            per_layer = []
            for layer, layer_rows in zip(self.layers, bar_rows):
                s, summary_rows = layer.summarise(s, layer_rows, by)
                per_layer.append(summary_rows)
            rows = torch.stack(per_layer)
        streams.cache.end_bar(stream, rows)

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
