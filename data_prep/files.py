"""Files in and out: whole or not at all, found at any depth, named in one line of a table."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

_TEMPORARY_SUFFIX = ".part"


class CommandError(Exception):
    """The command cannot do what it was asked to; the message is a sentence for the user."""


def write_whole(path: Path, content: bytes) -> None:
    """Write ``content`` under a temporary name and move it to ``path``, so that nobody sees half a file.

    Raises OSError, with ``path`` untouched and nothing left behind, when it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + _TEMPORARY_SUFFIX)
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def find_files(folder: Path, suffixes: tuple[str, ...], on_error: Callable[[OSError], None]) -> list[Path]:
    """Paths relative to ``folder`` of the files at any depth that end in ``suffixes`` (any case), sorted.

    Links to folders are followed, once each. ``on_error`` is told of folders that cannot be listed.
    """
    found: list[Path] = []
    seen: set[tuple[int, int]] = set()
    for parent, folders, names in os.walk(folder, onerror=on_error, followlinks=True):
        status = Path(parent).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        found += [Path(parent, name).relative_to(folder) for name in names if name.lower().endswith(suffixes)]
    return sorted(found)


def one_line(text: str) -> str:
    """``text`` as one field of a tab-separated table: tabs, line breaks and backslashes are escaped."""
    for character, escaped in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(character, escaped)
    return text


def to_bytes(text: str) -> bytes:
    """UTF-8, with file names that are not UTF-8 kept byte for byte."""
    return text.encode("utf-8", "surrogateescape")


def from_bytes(content: bytes) -> str:
    """The inverse of ``to_bytes``."""
    return content.decode("utf-8", "surrogateescape")


def sentence_of(error: OSError) -> str:
    """An OSError in words, such as ``No space left on device: tokens/a.txt``."""
    return f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
