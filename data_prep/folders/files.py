"""Files in and out: whole or not at all, found at any depth, named in one line of a table."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

TEMPORARY_SUFFIX = ".part"


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A stream to a temporary name that is moved to ``path`` at the end, so that nobody sees half a file.

    On any exception ``path`` stays as it was and nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
    try:
        with temporary.open("wb") as stream:
            yield stream
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk is only noticed by a write, which knows no name
        raise


def write_whole(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` through ``whole_file``. Raises OSError."""
    with whole_file(path) as stream:
        stream.write(content)


def _raise(error: OSError) -> None:
    raise error


def iterate_files(
    folder: Path, suffixes: tuple[str, ...], on_error: Callable[[OSError], None] = _raise
) -> Iterator[Path]:
    """Paths relative to ``folder`` of the files at any depth that end in ``suffixes`` (any case).

    The order is always the same, folder by folder. Links to folders are followed, once each. ``on_error``
    is told of folders that cannot be listed; it raises OSError unless chosen otherwise.
    """
    seen: set[tuple[int, int]] = set()
    for parent, folders, names in os.walk(folder, onerror=on_error, followlinks=True):
        status = Path(parent).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        for name in sorted(names):
            if name.lower().endswith(suffixes):
                yield Path(parent, name).relative_to(folder)


def find_files(folder: Path, suffixes: tuple[str, ...], on_error: Callable[[OSError], None] = _raise) -> list[Path]:
    """The files of ``iterate_files``, sorted."""
    return sorted(iterate_files(folder, suffixes, on_error))


def one_line(text: str) -> str:
    """``text`` as one field of a tab-separated table: tabs, line breaks and backslashes are escaped."""
    for character, escaped in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(character, escaped)
    return text


_ESCAPED = {"\\\\": "\\", "\\t": "\t", "\\n": "\n", "\\r": "\r"}


def from_one_line(field: str) -> str:
    """The inverse of ``one_line``."""
    return re.sub(r"\\[\\tnr]", lambda escape: _ESCAPED[escape[0]], field)


def to_bytes(text: str) -> bytes:
    """UTF-8, with file names that are not UTF-8 kept byte for byte."""
    return text.encode("utf-8", "surrogateescape")


def from_bytes(content: bytes) -> str:
    """The inverse of ``to_bytes``."""
    return content.decode("utf-8", "surrogateescape")
