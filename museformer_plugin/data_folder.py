"""The folder that fairseq-preprocess wrote: its dictionary and its pieces, and whether they can be read here."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from fairseq import utils
from fairseq.data import Dictionary
from torch import Tensor

from data_prep.tokens.grammar import check_piece
from data_prep.tokens.vocabulary import TokenError

from .errors import UserError
from .token_families import TokenFamilies

logger = logging.getLogger(__name__)


def dictionary_of(data: str) -> Dictionary:
    """That of the first of the folders ``data``, joined by ``:``. Raises UserError where there is none."""
    if not data:
        raise UserError("Name the data folder that fairseq-preprocess wrote (the first argument).")
    path = Path(utils.split_paths(data)[0]) / "dict.txt"
    if not path.is_file():
        raise UserError(f"There is no dictionary at {path}: name a folder that fairseq-preprocess wrote.")
    try:
        dictionary = Dictionary.load(str(path))
    except Exception as error:  # what fairseq raises for bytes that are no text
        raise UserError(f"{path} is not a fairseq dictionary: {' '.join(str(error).split())}") from None
    logger.info("dictionary: %d types", len(dictionary))
    return dictionary


def check_pieces(pieces: Sequence[Tensor], split: str, families: TokenFamilies) -> None:
    """Raises UserError for the first of ``pieces``, int64 [n + 1] each, ``</s>`` last, that breaks the grammar."""
    for number in range(len(pieces)):
        tokens = pieces[number].numpy()[:-1]
        if not families.is_piece(tokens):
            words = [families.dictionary[token] for token in tokens]
            raise UserError(
                f"Piece {number + 1} of {split!r} breaks the grammar of {families.representation.name}: "
                f"{_what_is_wrong(words, families)}. Make the data with data_prep.make_splits and "
                f"preprocess it with its dict.txt, or pass --no-grammar."
            )


def _what_is_wrong(words: list[str], families: TokenFamilies) -> str:
    if not words:
        return "it is empty"
    try:
        check_piece(words, families.representation)
    except TokenError as error:
        return str(error)
    return "it is not a sequence of bars"
