"""embed -> layers -> logits: over whole pieces at once, or one token of every stream at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from fairseq.data import Dictionary
from fairseq.models import FairseqIncrementalDecoder
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .embedding import BarAwareEmbedding
from .fc_attention import BarCache, BarLayout
from .layer import MuseformerLayer
from .recorded_steps import RecordedSteps
from .token_families import TokenFamilies

_STATE = "museformer_streams"
_NO_ATTENTION = {"attn": [None]}  # fairseq's search looks for weights to show


class Streams:
    """A batch of pieces being written: their caches and where each stands.

    ``next_bar`` and ``latest_beat`` int64 [B]: the bar id of the next token and the beat in force.
    """

    def __init__(self, cache: BarCache, next_bar: np.ndarray, latest_beat: np.ndarray) -> None:
        self.cache = cache
        self.next_bar = next_bar
        self.latest_beat = latest_beat
        self.recorded = RecordedSteps()
        self.num_read = 0  # tokens read, where fairseq's own generator drives and counts

    def __len__(self) -> int:
        return len(self.next_bar)

    def select(self, numbers: Sequence[int]) -> None:
        """Keep these streams in this order; for the identity nothing moves."""
        self.cache.select(numbers)
        self.next_bar, self.latest_beat = self.next_bar[numbers], self.latest_beat[numbers]

    def put(self, number: int, entering: Streams) -> None:
        """Let the one stream of ``entering``, which stays as it is, take the place of ``number``."""
        self.cache.put(number, entering.cache)
        self.next_bar[number], self.latest_beat[number] = entering.next_bar[0], entering.latest_beat[0]


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
            )
            for _ in range(cfg.decoder_layers)
        )
        self.final_norm = nn.LayerNorm(width)
        self.output_projection = nn.Linear(width, len(dictionary), bias=False)
        nn.init.normal_(self.output_projection.weight, std=width**-0.5)

    def forward(
        self,
        prev_output_tokens: Tensor,
        src_lengths: Tensor | None = None,
        layout: BarLayout | None = None,
        beat_ids: np.ndarray | None = None,
        incremental_state: dict[str, Any] | None = None,
        **unused: Any,
    ) -> tuple[Tensor, dict[str, Any]]:
        """Logits [B, L, V] of padded int64 ``prev_output_tokens`` [B, L]; rows at padding are 0.

        ``layout`` and ``beat_ids`` (int64 [T], pieces end to end) come with the batch from the data
        workers, and are made here when they do not. With ``incremental_state`` only the tokens not
        read before are, and their logits returned.
        """
        if incremental_state is not None:
            return self._read_on(prev_output_tokens, incremental_state), _NO_ATTENTION
        if layout is None or beat_ids is None:
            lengths = (prev_output_tokens != self.dictionary.pad()).sum(dim=1).tolist()
            layout, beat_ids = self.lay_out([row[:length] for row, length in zip(prev_output_tokens, lengths)])
        lengths = [piece.num_tokens for piece in layout.pieces]
        tokens = torch.cat([row[:length] for row, length in zip(prev_output_tokens, lengths)])
        features = self.extract_features(tokens, layout, beat_ids)
        logits = self.output_projection(features)
        padded = torch.nn.utils.rnn.pad_sequence(logits.split(lengths), batch_first=True)
        missing = prev_output_tokens.shape[1] - padded.shape[1]
        return (F.pad(padded, (0, 0, 0, missing)) if missing else padded), _NO_ATTENTION

    def lay_out(self, pieces: Sequence[Tensor]) -> tuple[BarLayout, np.ndarray]:
        """Bars and beat ids (int64 [T]) of token sequences without padding, begin token first."""
        arrays = [piece.cpu().numpy() for piece in pieces]
        bars = [self.families.piece_bars(tokens) for tokens in arrays]
        beats = np.concatenate([self.families.beat_ids(tokens) for tokens in arrays])
        return BarLayout.build(bars, self.structure_bars, self.coarse), beats

    def extract_features(
        self, tokens: Tensor, layout: BarLayout, beat_ids: np.ndarray, cache_rows: list | None = None
    ) -> Tensor:
        """Normalised rows [T, D] before the logits, of pieces laid end to end, tokens int64 [T].

        ``cache_rows`` collects, per layer, what incremental decoding needs (see ``MuseformerLayer``).
        """
        device = tokens.device
        x = self.embedding(
            tokens,
            torch.from_numpy(layout.bar_ids).to(device, non_blocking=True),
            torch.from_numpy(beat_ids).to(device, non_blocking=True),
            int(layout.bar_ids.max()),
            int(beat_ids.max()),
        )
        x = self._drop(x)
        s = None
        if self.coarse:
            bar_ids = torch.from_numpy(layout.summary_bar_ids).to(device, non_blocking=True)
            s = self._drop(self.embedding.summaries(bar_ids))
        keep = None if cache_rows is None else lambda *rows: cache_rows.append(rows)
        for layer in self.layers:
            if self.checkpoint_activations and self.training:
                x, s = checkpoint(layer, x, s, layout, use_reentrant=False)
            else:
                x, s = layer(x, s, layout, keep)
        return self.final_norm(x)

    def _drop(self, rows: Tensor) -> Tensor:
        return F.dropout(rows, self.dropout, self.training)

    def read_prompts(self, prompts: Sequence[Tensor]) -> tuple[list[Tensor], Streams]:
        """Read prompts in one pass: int64 [n] each, begin token first.

        Returns the logits [n, V] of each and the streams that go on from them.
        """
        layout, beat_ids = self.lay_out(prompts)
        cache_rows: list[tuple[Tensor, Tensor | None]] = []
        features = self.extract_features(torch.cat(list(prompts)), layout, beat_ids, cache_rows)
        token_rows = torch.stack([tokens for tokens, _ in cache_rows]).permute(0, 2, 3, 1, 4)
        summary_rows = (
            torch.stack([summaries for _, summaries in cache_rows]).permute(0, 2, 3, 1, 4) if self.coarse else None
        )
        on_gpu = features.device.type == "cuda"
        cache = BarCache(self.structure_bars, self.coarse, padded=on_gpu, expected=len(prompts))
        start = first_summary = 0
        for piece in layout.pieces:
            end, last_summary = start + piece.num_tokens, first_summary + piece.num_complete
            cache.add_stream(
                piece,
                token_rows[:, :, :, start:end],
                summary_rows[:, :, :, first_summary:last_summary] if self.coarse else None,
            )
            start, first_summary = end, last_summary
        latest_beats = [self.families.latest_beat(prompt.cpu().numpy()) for prompt in prompts]
        next_bars = [piece.num_complete + 1 for piece in layout.pieces]
        lengths = [piece.num_tokens for piece in layout.pieces]
        return (
            list(self.output_projection(features).split(lengths)),
            Streams(cache, np.array(next_bars), np.array(latest_beats)),
        )

    def step(self, tokens: Tensor, streams: Streams) -> Tensor:
        """Read one token of every stream, int64 [B]; returns the logits [B, V] of what follows."""
        read, cache = tokens.cpu().numpy(), streams.cache
        beat_ids, streams.latest_beat = self.families.next_beats(read, streams.latest_beat)
        host = np.stack([read, streams.next_bar, beat_ids, cache.begin_step()])
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
        """Logits [B, V] from int64 [4, B]: tokens, their bar ids and beat ids, and their places in the cache."""
        tokens, bar_ids, beat_ids, places = inputs.unbind()
        x = self.embedding.project(tokens, bar_ids, beat_ids)
        visible = cache.visible(places)
        for number, layer in enumerate(self.layers):
            x = layer.step(x, cache, number, places, visible)
        return self.output_projection(self.final_norm(x))

    def _end_bar(self, stream: int, streams: Streams) -> None:
        """Summarise the bar that stream has completed, once per layer, and go to the next."""
        rows = None
        if self.coarse:
            bar_rows = streams.cache.own_bar(stream)
            s = self.embedding.summaries(torch.tensor([streams.next_bar[stream]], device=bar_rows.device))
            per_layer = []
            for layer, layer_rows in zip(self.layers, bar_rows):
                s, summary_rows = layer.summarise(s, layer_rows)
                per_layer.append(summary_rows)
            rows = torch.stack(per_layer)
        streams.cache.end_bar(stream, rows)
        streams.next_bar[stream] += 1

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
