"""The pieces of a data set as token lines, out of the binary files that ``fairseq-preprocess`` writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from fairseq.data import Dictionary, data_utils

from data_prep.command import CommandError


class Split:
    """The pieces of one split, decoded one at a time, so that a large training set need not fit into memory."""

    def __init__(self, data_bin: Path, name: str) -> None:
        """Raises CommandError when the folder, its dictionary or the split is missing or holds no piece."""
        path = data_bin / "dict.txt"
        if not path.is_file():
            raise CommandError(f"{data_bin} has no dict.txt: name the folder that fairseq-preprocess wrote.")
        dictionary = Dictionary.load(str(path))
        pieces = data_utils.load_indexed_dataset(str(data_bin / name), dictionary, None)
        if pieces is None or not len(pieces):
            raise CommandError(f"{data_bin} holds no {name!r} pieces: run fairseq-preprocess with --{name}pref.")
        self.name = name
        self._pieces = pieces
        self._end = dictionary.eos()
        self._symbols = np.array(dictionary.symbols, dtype=object)
        self._index_of = dictionary.indices

    def __len__(self) -> int:
        return len(self._pieces)

    def line(self, index: int) -> str:
        """The tokens of a piece, separated by spaces; its index is that of its line in the token file."""
        return " ".join(self._symbols[self.indices(index)])

    def indices(self, index: int) -> np.ndarray:
        """The same as int64 [n], each the token's index in the dictionary."""
        entries = self._pieces[index].numpy()
        return entries[entries != self._end].astype(np.int64)

    def indices_of(self, line: str) -> np.ndarray:
        """Those of any line of tokens; raises KeyError where the dictionary has not one of them."""
        return np.array([self._index_of[token] for token in line.split()], dtype=np.int64)

    @property
    def num_symbols(self) -> int:
        """How many tokens the dictionary has."""
        return len(self._symbols)

    def __iter__(self) -> Iterator[str]:
        return (self.line(index) for index in range(len(self)))
