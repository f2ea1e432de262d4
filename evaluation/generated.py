"""Generated pieces, and how each came about: from scratch, or continuing a prompt that a real piece begins with.

Pieces are read from what ``generate.sh``, ``fairseq-interactive`` and ``fairseq-generate`` leave, and from
token files. How many tokens of a piece were given to the model:

- ``fairseq-interactive`` (and ``generate.sh``) prints the prompt itself, in the S- line before each H-.
- ``fairseq-generate`` prints the whole example (S- and T- lines), not how much of it was the prompt: the
  caller says how many bars.
- A token file says nothing: the caller does.

The real continuation of a prompt is its example's (T-), else that of the test piece that begins with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data_prep.command import CommandError
from data_prep.folders.files import from_bytes
from data_prep.prompt import first_bars
from data_prep.tokens.token_files import TokenLine, read_token_lines, token_sources
from data_prep.tokens.vocabulary import END_OF_BAR, Representation

_GIVEN = re.compile(rb"([ST])-\d+\t(.*)")
_OF_FAIRSEQ = ("<s>", "<pad>", "</s>", "<unk>")  # every fairseq dictionary begins with them


@dataclass(frozen=True)
class GeneratedPiece:
    """A piece whose first ``given`` tokens are its prompt, and the example it continues, where that is known."""

    name: str
    tokens: tuple[str, ...]
    given: int = 0
    example: str | None = None

    @property
    def prompt(self) -> str:
        """The given tokens as a line."""
        return " ".join(self.tokens[: self.given])

    @property
    def continuation(self) -> str:
        """What the model wrote, from the first token on."""
        return " ".join(self.tokens[self.given :])

    @property
    def real_continuation(self) -> str | None:
        """What follows the prompt in the example; None without one."""
        return None if self.example is None else " ".join(self.example.split()[self.given :])

    @property
    def own_bars(self) -> str:
        """The bars that the model wrote from their first token on: all of a piece from scratch."""
        return " ".join(self.tokens[self._own_start :])

    @property
    def first_own_bar(self) -> int:
        """How many bars come before those: whole bars of the prompt, and one that the prompt only began."""
        return sum(token.startswith("b-") for token in self.tokens[: self._own_start])

    @property
    def _own_start(self) -> int:
        start = self.given
        while 0 < start < len(self.tokens) and self.tokens[start - 1] != END_OF_BAR:
            start += 1
        return start

    @property
    def prompt_bars(self) -> int:
        """How many whole bars were given."""
        return self.tokens[: self.given].count(END_OF_BAR)


@dataclass(frozen=True)
class _Given:
    """What a file of fairseq's says of a hypothesis: the S- and the T- line before it."""

    source: str | None = None
    target: str | None = None


def read_generated(folder: Path, representation: Representation, prompt_bars: int = 0) -> list[GeneratedPiece]:
    """The pieces of all .txt and .tokens files of ``folder``, at any depth.

    ``prompt_bars`` is how many bars were given where the files do not say. Raises CommandError when there is
    no piece, when tokens are not of ``representation``, or when a piece cannot have had this prompt.
    """
    if not folder.is_dir():
        raise CommandError(f"There is no folder {folder}.")
    known = {*representation.symbols(), *_OF_FAIRSEQ}
    pieces = []
    for source in token_sources([folder]):
        lines = list(read_token_lines(source.path))
        for line, given in zip(lines, _given(source.path, lines)):
            tokens = line.text.split()
            prompt, example = _prompt(tokens, given, prompt_bars)
            if tokens[: len(prompt)] != prompt:
                raise CommandError(
                    f"{source.path}, line {line.number}: the piece does not begin with the {prompt_bars} bars that its "
                    f"example begins with; say how many bars were given (PROMPT_BARS), as fairseq-generate was told "
                    f"by --prompt-bars."
                )
            piece = GeneratedPiece(str(source.folder / line.name), tuple(tokens), len(prompt), example)
            if foreign := next((token for token in piece.tokens if token not in known), None):
                raise CommandError(
                    f"{source.path}, line {line.number}: {foreign!r} is not in the {representation.name} dictionary "
                    f"of the data; name the folder of the model that was trained on them."
                )
            pieces.append(piece)
    if not any(piece.tokens for piece in pieces):
        raise CommandError(f"{folder} holds no generated piece.")
    return pieces


def _given(path: Path, lines: Sequence[TokenLine]) -> list[_Given]:
    """What stands before each of the ``lines`` of a file; nothing in a token file."""
    latest: dict[bytes, str | None] = {b"S": None, b"T": None}
    given = {line.number: _Given() for line in lines}
    with path.open("rb") as stream:
        for number, text in enumerate(stream, start=1):
            if match := _GIVEN.match(text):
                if match[1] == b"S":
                    latest[b"T"] = None  # every sample begins with its source
                latest[match[1]] = from_bytes(match[2]).strip()
            if number in given:
                given[number] = _Given(latest[b"S"], latest[b"T"])
    return list(given.values())


def _prompt(tokens: Sequence[str], given: _Given, prompt_bars: int) -> tuple[list[str], str | None]:
    """The tokens that were given, and the example that they begin, as far as the file tells."""
    if given.target is None and given.source is not None:  # a typed prompt
        return given.source.split(), None
    if given.target is not None and prompt_bars:
        return first_bars(given.target.split(), prompt_bars), given.target
    return first_bars(tokens, prompt_bars), None


def find_examples(pieces: Sequence[GeneratedPiece], lines: Iterable[str]) -> list[GeneratedPiece]:
    """``pieces`` with the first of ``lines`` that begins with their prompt, where they had no example."""
    wanted = {piece.prompt for piece in pieces if piece.given and piece.example is None}
    found: dict[str, str] = {}
    for line in lines if wanted else ():
        found.update((prompt, line) for prompt in wanted if line.startswith(f"{prompt} "))
        wanted -= found.keys()
    return [piece if piece.example is not None else replace(piece, example=found.get(piece.prompt)) for piece in pieces]
