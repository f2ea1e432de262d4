"""Pieces out of text files: token files, one piece a line, and what fairseq prints when it generates."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_prep.command import CommandError
from data_prep.folders.files import find_files, from_bytes

TOKEN_SUFFIXES = (".txt", ".tokens")

# H-<sample id> TAB <score> TAB <tokens>
_HYPOTHESIS = re.compile(rb"H-(\d+)\t[^\t]*\t(.*)")
_OTHER_FAIRSEQ_LINE = re.compile(rb"[STDPW]-\d+\t")


@dataclass(frozen=True)
class TokenLine:
    """One piece as text. ``number`` is its line in the file, from 1; ``name`` tells pieces of a file apart."""

    name: str
    number: int
    text: str


@dataclass(frozen=True)
class TokenSource:
    """A file of pieces; ``folder`` is where it lies below the folder that was named, empty for a named file."""

    path: Path
    folder: Path


def token_sources(inputs: Sequence[Path]) -> Iterator[TokenSource]:
    """The named files, and the .txt and .tokens files at any depth of the named folders.

    Raises CommandError for a folder without such files, OSError for one that cannot be listed.
    """
    for path in inputs:
        if not path.is_dir():
            yield TokenSource(path, Path())
            continue
        names = find_files(path, TOKEN_SUFFIXES)
        if not names:
            raise CommandError(f"{path} holds no token files (.txt or .tokens) at any depth.")
        yield from (TokenSource(path / name, name.parent) for name in names)


def read_token_lines(path: Path) -> Iterator[TokenLine]:
    """The pieces of ``path``, blank ones included.

    A token file's only line is named after the file, otherwise NAME_1, NAME_2 ... by line. In the output
    of ``fairseq-generate`` or ``fairseq-interactive`` only the hypotheses count: NAME_<id>, and
    NAME_<id>_1, NAME_<id>_2 ... where a sample has several. Raises CommandError when there are none
    although the file looks like such output, or no line at all; OSError when it cannot be read.
    """
    if not path.is_file():
        raise CommandError(f"{path} is not a file.")
    hypotheses: Counter[bytes] = Counter()
    lines = 0
    from_fairseq = False
    with path.open("rb") as stream:
        for line in stream:
            lines += 1
            from_fairseq = from_fairseq or bool(_OTHER_FAIRSEQ_LINE.match(line))
            if match := _HYPOTHESIS.match(line):
                hypotheses[match[1]] += 1
    if hypotheses:
        yield from _hypotheses(path, hypotheses)
        return
    if from_fairseq:
        raise CommandError(f"{path} is fairseq output without hypotheses (lines that begin with H-).")
    if not lines:
        raise CommandError(f"{path} is empty.")
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            name = path.stem if lines == 1 else f"{path.stem}_{number}"
            yield TokenLine(name, number, from_bytes(line).strip())


def _hypotheses(path: Path, total: Counter[bytes]) -> Iterator[TokenLine]:
    seen: Counter[bytes] = Counter()
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if match := _HYPOTHESIS.match(line):
                sample, text = match.groups()
                seen[sample] += 1
                name = f"{path.stem}_{int(sample)}"
                if total[sample] > 1:
                    name += f"_{seen[sample]}"
                yield TokenLine(name, number, from_bytes(text).strip())
