"""Museformer (Yu et al., NeurIPS 2022, arXiv 2210.10349): fine-grained attention to the tokens of structure bars,
coarse-grained attention to the summaries of the others."""

# No postponed annotations here: fairseq reads the types of dataclass fields as they stand.

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from fairseq.data import Dictionary
from fairseq.models import register_model
from torch import Tensor

from ..errors import UserError
from ..fc_attention import BarCache, BarLayout, PieceBars, UpcomingBar, fc_attention
from ..layer import BarAwareLayer
from ..positions import Positions
from ..rotary import Turn
from ..steering.conditions import ConditionColumns
from ..token_families import TokenFamilies
from .decoder import BarAwareDecoder, Keep
from .museformer_inputs import MuseformerInputs, make_inputs
from .options import BarAwareConfig, BarAwareLanguageModel, register_presets
from .streams import Streams

_PAPER_STRUCTURE_BARS = "1,2,4,8,12,16,24,32"


@dataclass
class MuseformerConfig(BarAwareConfig):
    """Options of the model; the defaults are the paper's."""

    structure_bars: str = field(
        default=_PAPER_STRUCTURE_BARS,
        metadata={
            "help": "distances, in bars, of the earlier bars attended to token by token, comma-separated; "
            "empty for none"
        },
    )
    no_coarse_attention: bool = field(
        default=False,
        metadata={"help": "do not attend to summaries: bars other than the structure bars are not seen"},
    )
    steerable: bool = field(
        default=False,
        metadata={
            "help": "learn to be told of bars what they are to be like, and to write bars between and over given ones, "
            "which are seen at the structure distances on both sides"
        },
    )


def parse_structure_bars(text: str) -> tuple[int, ...]:
    """ "1,2,4" -> (1, 2, 4), rising and without repeats.

    Raises UserError unless every part is a whole number.
    """
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    if not all(re.fullmatch(r"-?[0-9]+", part) for part in parts):
        raise UserError(
            f"--structure-bars takes distances in whole bars, separated by commas, such as "
            f"{_PAPER_STRUCTURE_BARS}, not {text!r}."
        )
    return tuple(sorted({int(part) for part in parts}))


class Turns(NamedTuple):
    """What ``turn`` multiplies the queries and keys of tokens and of summaries by, where the model has positions so."""

    tokens: Turn | None
    summaries: Turn | None


NO_TURNS = Turns(None, None)


class MuseformerLayer(BarAwareLayer):
    """FC-attention and feed-forward, shared between tokens and summaries."""

    def forward(
        self, x: Tensor, s: Tensor | None, layout: BarLayout, turns: Turns = NO_TURNS, keep: Keep | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Tokens x [T, D] and summaries s [N, D] (None without coarse-grained attention) -> the same.

        ``keep`` receives the rows that incremental decoding needs: keys and values of the tokens
        [T, 2, H, Dh], and those of the summaries, made of s', [N, 2, H, Dh] or None.
        """
        q, k, v = self.qkv(x, self.projections.token_bias, turns.tokens)
        x_attended, s_attended = fc_attention(
            (q, k, v),
            None if s is None else self.qkv(s, self.projections.summary_bias, turns.summaries),
            self.projections.summary_kv_weight,
            layout,
            self.attention_dropout if self.training else 0.0,
            place_summary_keys=partial(self.place_keys, by=turns.summaries) if self.places(turns.summaries) else None,
        )
        if keep is not None:
            keep(torch.stack([k, v], 1), None if s is None else self.summary_rows(s_attended, turns.summaries))
        return self.finish(x, x_attended), None if s is None else self.finish(s, s_attended)

    def summarise(self, s: Tensor, bar_rows: Tensor, hidden: Tensor, by: Turn | None = None) -> tuple[Tensor, Tensor]:
        """The summary step of bars: s [E, D], keys and values of their tokens [2, E, H, n, Dh].

        ``hidden`` [E, 1, 1, 1 + n]: added to scores, of the summary itself and the rows. Returns the new s [E, D] and
        their keys and values for tokens [E, 2, H, Dh].
        """
        q, k, v = (rows.unsqueeze(2) for rows in self.qkv(s, self.projections.summary_bias, by))  # each [E, H, 1, Dh]
        keys, values = torch.cat([k, bar_rows[0]], dim=2), torch.cat([v, bar_rows[1]], dim=2)
        attended = F.scaled_dot_product_attention(q, keys, values, attn_mask=hidden).squeeze(2)
        return self.finish(s, attended), self.summary_rows(attended, by)

    def place_keys(self, rows: Tensor, by: Turn | None) -> Tensor:
        """``place`` for keys."""
        return self.place(rows, None if by is None else by.keys)

    def summary_rows(self, s_attended: Tensor, by: Turn | None = None) -> Tensor:
        """K2 s', placed, and V2 s' [N, 2, H, Dh] of s' [N, H, Dh]."""
        rows = F.linear(s_attended.flatten(1), self.projections.summary_kv_weight)
        rows = rows.view(len(rows), 2, *s_attended.shape[1:])
        if not self.places(by):
            return rows
        return torch.stack([self.place_keys(rows[:, 0], by), rows[:, 1]], 1)


class MuseformerDecoder(BarAwareDecoder):
    """Museformer's only stack. Raises UserError for options that do not fit together."""

    has_kernels = True

    def __init__(self, cfg: MuseformerConfig, dictionary: Dictionary) -> None:
        structure_bars, coarse = parse_structure_bars(cfg.structure_bars), not cfg.no_coarse_attention
        for_gpu = torch.cuda.is_available()
        steerable = getattr(cfg, "steerable", False)  # checkpoints from before the option lack it
        columns = ConditionColumns.of(TokenFamilies(dictionary)) if steerable else None
        if columns is not None:
            structure_bars = tuple(sorted({0, *structure_bars, *(-distance for distance in structure_bars)}))
        inputs = partial(
            make_inputs,
            structure_bars=structure_bars,
            coarse=coarse,
            for_gpu=for_gpu,
            num_features=columns.width if columns else 0,
        )
        super().__init__(cfg, dictionary, MuseformerLayer, inputs, coarse, columns)
        self.structure_bars = structure_bars
        self.coarse = coarse

    def facts(self) -> dict[str, str]:
        """See ``BarAwareModel``."""
        return {
            "structure bars": ",".join(map(str, self.structure_bars)) or "none",
            "coarse-grained attention": "on" if self.coarse else "off",
            **({"steerable": "yes"} if self.condition_columns else {}),
            **({"heads that look where a bar is repeated": str(self.repeat_heads)} if self.repeat_heads else {}),
        }

    def run_layers(self, x: Tensor, inputs: MuseformerInputs, by: Turn | None, keep: Keep | None) -> Tensor:
        """See ``BarAwareDecoder``."""
        fed = inputs.feed.on(x.device)
        s = by_summaries = said = None
        if self.conditions is not None:
            said = self.conditions.at_embedding(fed["features"])
            x = x + F.embedding(fed["bars_of_tokens"], said)
            by = self.look_back(by, fed["bars_back"])
        if self.coarse:
            bars = fed["summary_bars"]
            s = self.drop(self.embedding.summaries(bars))
            if said is not None:
                s = s + F.embedding(fed["bars_of_summaries"], said)
            by_summaries = self.turn(Positions.of_bars(bars), x)
        for layer in self.layers:
            x, s = self.run_layer(layer, x, s, inputs.layout, Turns(by, by_summaries), keep)
        return x

    def empty_cache(self, on_gpu: bool, expected: int) -> BarCache:
        """See ``BarAwareDecoder``."""
        return BarCache(self.structure_bars, self.coarse, padded=on_gpu, expected=expected)

    def add_stream(
        self,
        cache: BarCache,
        bars: PieceBars,
        token_rows: Tensor,
        summary_rows: Tensor | None,
        upcoming: Sequence[UpcomingBar],
    ) -> None:
        """See ``BarAwareDecoder``."""
        cache.add_stream(bars, token_rows, summary_rows, upcoming)

    def file_bars(self, streams: Streams, ended: Sequence[int]) -> None:
        """Summarise the bars, all together."""
        cache = streams.cache
        assert isinstance(cache, BarCache)
        summaries: Sequence[Tensor | None] = [None] * len(ended)
        if self.coarse:
            said = [] if streams.said is None else [torch.stack([streams.said.at_embedding()[n] for n in ended])]
            inputs = [*cache.own_bars(ended), *said]
            rows = streams.run_bar_ends(self._summarise, inputs, len(ended))  # [E, L, 2, H, Dh]
            summaries = rows.unsqueeze(4).unbind()
        for stream, summary in zip(ended, summaries):
            cache.end_bar(stream, summary)

    def _summarise(self, bar_rows: Tensor, bars: Tensor, lengths: Tensor, said: Tensor | None = None) -> Tensor:
        """Keys and values for tokens [E, L, 2, H, Dh] of the summaries of bars as ``BarCache.own_bars`` has them.

        ``said`` [E, D] of the bars.
        """
        s = self.embedding.summaries(bars)
        s = s if said is None else s + said.to(s.dtype)
        by = self.turn(Positions.of_bars(bars), s)
        behind = torch.arange(bar_rows.shape[4] + 1, device=bars.device) > lengths[:, None]  # its own row is the first
        hidden = s.new_zeros(behind.shape).masked_fill(behind, float("-inf"))[:, None, None]
        per_layer = []
        for layer, layer_rows in zip(self.layers, bar_rows):
            s, summary_rows = layer.summarise(s, layer_rows, hidden, by)
            per_layer.append(summary_rows)
        return torch.stack(per_layer, dim=1)


@register_model("museformer", dataclass=MuseformerConfig)
class MuseformerLanguageModel(BarAwareLanguageModel):
    """Museformer as fairseq builds it."""

    decoder_class = MuseformerDecoder


register_presets("museformer")
