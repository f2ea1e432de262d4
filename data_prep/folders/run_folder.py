"""A folder that a long run fills, so that the run can be interrupted at any moment and resumed.

``settings.json`` keeps a resumed run from mixing two kinds of output. Tables are tab-separated and get a
line as soon as a file is done with; a line that an interruption cut short counts as not written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from data_prep.command import CommandError
from data_prep.folders.files import TEMPORARY_SUFFIX, from_bytes, to_bytes, write_whole

SETTINGS_FILE = "settings.json"

Settings = Mapping[str, Any]  # what JSON can hold


class RunFolder:
    """The folder ``root`` of a run with ``settings``; ``holds`` says in a word what it is for.

    Raises CommandError when it holds files and ``resume`` is not set, or was begun with other settings.
    """

    def __init__(self, root: Path, holds: str, settings: Settings, resume: bool) -> None:
        self.root = root
        if root.exists() and not root.is_dir():
            raise CommandError(f"{root} is a file; name a folder for the {holds}.")
        unbegun = SETTINGS_FILE + TEMPORARY_SUFFIX  # all that a run killed at once leaves
        filled = root.is_dir() and any(path.name != unbegun for path in root.iterdir())
        if filled and not resume:
            raise CommandError(
                f"{root} already holds files; name an empty folder, or add --resume to go on with an interrupted run."
            )
        if filled:
            _check_settings(root, settings)
        else:
            write_whole(root / SETTINGS_FILE, to_bytes(json.dumps(settings, indent=1) + "\n"))

    def rows(self, table: str, columns: int) -> Iterator[list[str]]:
        """The complete lines of a table that have so many columns, as fields."""
        path = self.root / table
        if not path.is_file():
            return
        with path.open("rb") as stream:
            for line in stream:
                fields = from_bytes(line).rstrip("\n").split("\t")
                if line.endswith(b"\n") and len(fields) == columns:
                    yield fields

    def append(self, table: str, line: str) -> None:
        """Add ``line``, which ends in a line break. Raises OSError that names the table."""
        path = self.root / table
        try:
            with path.open("ab") as stream:
                stream.write(to_bytes(line))
        except OSError as error:
            error.filename = str(path)
            raise


def read_settings(root: Path) -> dict[str, Any] | None:
    """The settings of the run that filled ``root``; None when it is not the output of one."""
    try:
        settings = json.loads((root / SETTINGS_FILE).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return settings if isinstance(settings, dict) else None


def _check_settings(root: Path, settings: Settings) -> None:
    earlier = read_settings(root)
    if earlier is None:
        raise CommandError(
            f"{root} holds files but no readable {SETTINGS_FILE}, so it is not the output of an interrupted "
            "run; name an empty folder."
        )
    if earlier != settings:
        raise CommandError(
            f"{root} was begun with {_described(earlier)}, this run has {_described(settings)}; "
            "repeat the options of the first run or name another folder."
        )


def _described(settings: Settings) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())
