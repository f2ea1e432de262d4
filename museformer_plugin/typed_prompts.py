"""Lines typed into ``fairseq-interactive``, or piped: each the beginning of a piece."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from data_prep.tokens.grammar import check_piece
from data_prep.tokens.vocabulary import TokenError

from .errors import UserError
from .token_families import TokenFamilies


def read_prompts(lines: Sequence[str], families: TokenFamilies, grammar: bool) -> list[Tensor]:
    """Of each line its tokens and ``</s>``, int64 [n + 1]; an empty line asks for a piece from scratch.

    Raises UserError for one that is not spelled or, with ``grammar``, not built as pieces are.
    """
    return [_read_prompt(number, line.split(), families, grammar) for number, line in enumerate(lines, start=1)]


def _read_prompt(number: int, words: list[str], families: TokenFamilies, grammar: bool) -> Tensor:
    try:
        if grammar:
            check_piece(words, families.representation, complete=False)
    except TokenError as error:
        raise UserError(f"Input line {number} breaks the grammar: {error}.") from None
    dictionary = families.dictionary
    entries = [dictionary.index(word) for word in words]
    if dictionary.unk() in entries:
        place = entries.index(dictionary.unk())
        raise UserError(f"Input line {number}, token {place + 1}: {words[place]!r} is not in the dictionary.")
    return torch.tensor([*entries, dictionary.eos()])
