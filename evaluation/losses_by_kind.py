"""Where a model loses: the bits a token by kinds of token, each kind with its share of the tokens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from data_prep.tokens.vocabulary import Representation
from evaluation.bootstrap import Bootstrap, Estimate, ratio_of_sums
from evaluation.perplexity import Losses
from evaluation.token_kinds import TokenKinds


@dataclass(frozen=True)
class KindLosses:
    """``bits`` float64 and ``tokens`` int64, both [pieces, kinds]: what each piece loses on tokens of each kind."""

    names: tuple[str, ...]
    bits: np.ndarray
    tokens: np.ndarray

    def bits_per_token(self, kind: int, bootstrap: Bootstrap) -> Estimate:
        """The mean over all tokens of a kind; pieces are what is resampled, those without such a token too."""
        sums = np.column_stack([self.bits[:, kind], self.tokens[:, kind]])
        return bootstrap.estimate(ratio_of_sums, sums)


def losses_by_kind(losses: Losses, lines: Iterable[str], representation: Representation) -> dict[str, KindLosses]:
    """The losses of pieces whose tokens are ``lines``, in each division of ``TokenKinds``.

    They are those of each piece's first tokens, as many as ``losses`` keeps, so that the sums over the kinds
    of a division are those over all tokens. Raises ValueError when the lines are of other pieces.
    """
    kinds = TokenKinds(representation)
    length = max(losses.lengths)
    sums: dict[str, list[np.ndarray]] = {division: [] for division in kinds.names}
    for bits, line in zip(losses.token_bits, lines, strict=True):
        for division, indices in kinds.kinds(line.split(), length).items():
            count = len(kinds.names[division])
            if len(indices) != len(bits):
                raise ValueError(f"losses of {len(bits)} tokens cannot be those of a line with {len(indices)}")
            sums[division].append(np.stack([np.bincount(indices, bits, count), np.bincount(indices, minlength=count)]))
    found = {}
    for division, names in kinds.names.items():
        bits, tokens = np.stack(sums[division], axis=1)
        found[division] = KindLosses(names, bits, tokens.astype(np.int64))
    return found
