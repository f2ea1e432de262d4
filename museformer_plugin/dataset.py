"""Pieces with their bars and beats, and how they become a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from fairseq.data import FairseqDataset, data_utils
from torch import Tensor

from .errors import UserError
from .fc_attention import PieceBars
from .models.protocol import MakeInputs
from .token_families import TokenFamilies
from .transposition import Transposition


class PieceDataset(FairseqDataset):
    """One piece an example: input ``</s> t1 ... tn``, target ``t1 ... tn </s>``.

    Args:
        pieces: int64 [n + 1] each, ``t1 ... tn </s>``, as ``fairseq-preprocess`` writes them.
        sizes: their lengths.
        families: bars and beats of tokens.
        max_tokens: keep only this many tokens of each piece; 0 keeps whole pieces.
        inputs: makes what the model needs of a batch here, in the data workers; without it the model does.
        prompt_bars: how many bars of each piece ``fairseq-generate`` continues; None is all of it.
        shuffle: whether pieces of equal length come in random order.
        transposition: says in which key each piece is read in an epoch; without it all stay in theirs.
    """

    def __init__(
        self,
        pieces: Sequence[Tensor],
        sizes: np.ndarray,
        families: TokenFamilies,
        max_tokens: int = 0,
        inputs: MakeInputs | None = None,
        prompt_bars: int | None = None,
        shuffle: bool = True,
        transposition: Transposition | None = None,
    ) -> None:
        super().__init__()
        self.pieces = pieces
        self.families = families
        self.max_tokens = max_tokens
        self.sizes = np.minimum(sizes, max_tokens) if max_tokens else np.asarray(sizes)
        self.inputs = inputs
        self.prompt_bars = prompt_bars
        self.shuffle = shuffle
        self.transposition = transposition
        self.order_seed: int | None = None  # of pieces of equal length; without it NumPy's generator stands where it is
        self._epoch = 1

    def set_epoch(self, epoch: int) -> None:
        """fairseq says which epoch, counted from 1, is read next."""
        self._epoch = epoch

    def read(self, index: int) -> Tensor:
        """A piece, ``t1 ... tn </s>``, in the key that it has in this epoch."""
        tokens = self.pieces[index]
        return tokens if self.transposition is None else self.transposition(index, tokens, self._epoch)

    def __getitem__(self, index: int) -> dict[str, Any]:
        target = self.read(index)
        return {"id": index, "target": target[: self.max_tokens] if self.max_tokens else target}

    def __len__(self) -> int:
        return len(self.pieces)

    def num_tokens(self, index: int) -> int:
        """Length of a piece, for batching by ``--max-tokens``."""
        return int(self.sizes[index])

    def size(self, index: int) -> int:
        """Length of a piece, for filtering."""
        return int(self.sizes[index])

    def ordered_indices(self) -> np.ndarray:
        """Pieces by length, so that batches hold little padding."""
        with data_utils.numpy_seed(self.order_seed):
            order = np.random.permutation(len(self)) if self.shuffle else np.arange(len(self))
        return order[np.argsort(self.sizes[order], kind="stable")]

    def batch_by_size(
        self,
        indices: np.ndarray,
        max_tokens: int | None = None,
        max_sentences: int | None = None,
        required_batch_size_multiple: int = 1,
    ) -> list[np.ndarray]:
        """Batches of indices; raises UserError when a piece alone is over ``max_tokens``.

        ``required_batch_size_multiple`` is not followed: fairseq would drop the last batch, which
        holds the longest pieces, where it is no multiple (8 by default), and pieces laid end to end
        gain nothing by it.
        """
        longest = int(self.sizes[indices].max(initial=0))
        if max_tokens is not None and longest > max_tokens:
            raise UserError(
                f"A piece of {longest} tokens does not fit into batches of {max_tokens}: raise --max-tokens, or "
                f"shorten pieces with --truncate-train, --truncate-valid or --truncate-test."
            )
        return super().batch_by_size(indices, max_tokens, max_sentences)

    def collater(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        """What fairseq calls a sample: ``id`` [B], ``target`` [B, L], ``ntokens``, ``net_input``.

        A sample of a window has also the number of its ``first_bar``; where that is not 1, the source begins
        with ``<s>``. Beats need nothing: by the grammar each bar's first tokens have beats of their own. Where it
        has a ``guide``, its bars are numbered by that, and all samples have one.

        ``net_input``: ``src_tokens`` int64 [B, L], padded on the right, ``src_lengths`` [B], ``inputs``; and for
        generation ``prompt_lengths`` [B], how many source tokens are given.
        """
        if not samples:
            return {}
        dictionary = self.families.dictionary
        targets = [sample["target"].long() for sample in samples]
        first_bars = [sample.get("first_bar", 1) for sample in samples]
        guides = [sample.get("guide") for sample in samples]
        # what does not begin with the piece does not look as if it did
        prefixes = [dictionary.eos() if first_bar == 1 else dictionary.bos() for first_bar in first_bars]
        sources = [torch.cat([target.new_tensor([prefix]), target[:-1]]) for prefix, target in zip(prefixes, targets)]
        arrays = [source.numpy() for source in sources]
        bars = [self.families.piece_bars(tokens, first_bar) for tokens, first_bar in zip(arrays, first_bars)]
        bars = [piece if guide is None else guide.name_bars(piece) for piece, guide in zip(bars, guides)]
        net_input = {
            "src_tokens": data_utils.collate_tokens(sources, dictionary.pad()),
            "src_lengths": torch.tensor([len(source) for source in sources]),
        }
        if self.inputs is not None:
            said = [guide.features[: len(piece.starts)] for guide, piece in zip(guides, bars) if guide is not None]
            net_input["inputs"] = self.inputs(arrays, bars, **({"features": said} if said else {}))
        return {
            "id": torch.tensor([sample["id"] for sample in samples]),
            "nsentences": len(samples),
            "ntokens": sum(len(target) for target in targets),
            "net_input": net_input,
            "target": data_utils.collate_tokens(targets, dictionary.pad()),
            "prompt_lengths": torch.tensor([self._prompt_length(piece) for piece in bars]),
        }

    def _prompt_length(self, piece: PieceBars) -> int:
        if self.prompt_bars is None or self.prompt_bars >= len(piece.starts):
            return piece.num_tokens
        return int(piece.starts[self.prompt_bars])

    @property
    def supports_prefetch(self) -> bool:
        """As the underlying data do."""
        return getattr(self.pieces, "supports_prefetch", False)

    def prefetch(self, indices: Sequence[int]) -> None:
        """Read pieces ahead, where the underlying data can."""
        self.pieces.prefetch(indices)
