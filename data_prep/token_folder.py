"""The folder of an encoding run: one token file a piece, and two tables that let a run be resumed.

``encoded.tsv`` (file, output, tokens, dropped notes) and ``rejected.tsv`` (file, reason) name every MIDI
file that is done with; a line is appended as soon as a file is, and both are sorted when the run ends.
``settings.json`` keeps a resumed run from mixing two encodings. Names are escaped by ``files.one_line``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from data_prep.command import CommandError
from data_prep.files import from_bytes, one_line, to_bytes, write_whole

# Faults that another run, with other limits, may not meet: a resumed run tries these files again.
RETRIED_FAULTS = ("crash:", "too slow:", "too large:")

Settings = Mapping[str, object]


@dataclass(frozen=True)
class EncodedRow:
    """A line of ``encoded.tsv`` after the file's name."""

    output: str
    tokens: int
    dropped_notes: int


class TokenFolder:
    """The output folder of one run; ``encoded`` and ``rejected`` say what became of each (escaped) file name.

    With ``resume`` the tables of the interrupted run are read back. Raises CommandError when the folder
    holds files and ``resume`` is not set, or when it was written with other settings.
    """

    def __init__(self, root: Path, settings: Settings, resume: bool) -> None:
        self.root = root
        self.encoded: dict[str, EncodedRow] = {}
        self.rejected: dict[str, str] = {}
        if root.exists() and not root.is_dir():
            raise CommandError(f"{root} is a file; name a folder for the tokens.")
        filled = root.is_dir() and any(root.iterdir())
        if filled and not resume:
            raise CommandError(
                f"{root} already holds files; name an empty folder, or add --resume to go on with an interrupted run."
            )
        self._settings_path = root / "settings.json"
        if filled:
            self._check_settings(settings)
            self._read_tables()
        else:
            write_whole(self._settings_path, to_bytes(json.dumps(settings, indent=1) + "\n"))
        self._write_tables()

    def _check_settings(self, settings: Settings) -> None:
        try:
            earlier = json.loads(self._settings_path.read_bytes())
        except (FileNotFoundError, ValueError):
            raise CommandError(
                f"{self.root} holds files but no readable settings.json, so it is not the output of an "
                "interrupted run; name an empty folder."
            ) from None
        if earlier != settings:
            raise CommandError(
                f"{self.root} was begun with {_described(earlier)}, this run has {_described(settings)}; "
                "repeat the options of the first run or name another folder."
            )

    def _read_tables(self) -> None:
        for file, *fields in _rows(self.root / "encoded.tsv", 4):
            output, tokens, dropped = fields
            if (self.root / output).is_file():
                self.encoded[file] = EncodedRow(output, int(tokens), int(dropped))
        for file, reason in _rows(self.root / "rejected.tsv", 2):
            if file not in self.encoded and not reason.startswith(RETRIED_FAULTS):
                self.rejected[file] = reason

    def add(self, file: Path, output: Path, line: str, tokens: int, dropped_notes: int) -> None:
        """Write a piece and note it. Raises OSError; CommandError when another text lies at ``output``."""
        target, content = self.root / output, to_bytes(line + "\n")
        if target.exists() and target.read_bytes() != content:
            raise CommandError(f"{target} exists with other content than {file} gives; move it away and add --resume.")
        write_whole(target, content)
        name = one_line(str(file))
        self.encoded[name] = EncodedRow(str(output), tokens, dropped_notes)
        self._append("encoded.tsv", self._encoded_line(name))

    def reject(self, file: Path, reason: str) -> None:
        """Note that ``file`` gives no piece. Raises OSError."""
        name = one_line(str(file))
        self.rejected[name] = one_line(reason)
        self._append("rejected.tsv", self._rejected_line(name))

    def finish(self) -> None:
        """Sort the tables. Raises OSError."""
        self._write_tables()

    def forget_rejected_but(self, files: set[str]) -> None:
        """Leave out rejected files that are no longer there."""
        self.rejected = {file: reason for file, reason in self.rejected.items() if file in files}

    def _write_tables(self) -> None:
        encoded = "".join(map(self._encoded_line, sorted(self.encoded)))
        rejected = "".join(map(self._rejected_line, sorted(self.rejected)))
        write_whole(self.root / "encoded.tsv", to_bytes(encoded))
        write_whole(self.root / "rejected.tsv", to_bytes(rejected))

    def _encoded_line(self, file: str) -> str:
        row = self.encoded[file]
        return f"{file}\t{one_line(row.output)}\t{row.tokens}\t{row.dropped_notes}\n"

    def _rejected_line(self, file: str) -> str:
        return f"{file}\t{self.rejected[file]}\n"

    def _append(self, table: str, line: str) -> None:
        path = self.root / table
        try:
            with path.open("ab") as stream:
                stream.write(to_bytes(line))
        except OSError as error:
            error.filename = str(path)
            raise


def _rows(path: Path, columns: int) -> list[list[str]]:
    """The complete lines of a table; a line that an interruption cut short is left out."""
    if not path.is_file():
        return []
    lines = from_bytes(path.read_bytes()).split("\n")[:-1]
    return [fields for line in lines if len(fields := line.split("\t")) == columns]


def _described(settings: Settings) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())
