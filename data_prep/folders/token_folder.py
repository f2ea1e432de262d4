"""The folder of an encoding run: one token file a piece, and two tables that let a run be resumed.

``encoded.tsv`` (file, output, tokens, dropped notes) and ``rejected.tsv`` (file, reason) name every MIDI
file that is done with; a line is appended as soon as a file is, and both are sorted when the run ends.
``settings.json`` keeps a resumed run from mixing two encodings. Names are escaped by ``files.one_line``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from data_prep.command import CommandError
from data_prep.folders.files import one_line, to_bytes, write_whole
from data_prep.folders.run_folder import RunFolder, Settings

# Faults that another run, with other limits, may not meet: a resumed run tries these files again.
RETRIED_FAULTS = ("crash:", "too slow:", "too large:")


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
        self._run = RunFolder(root, "tokens", settings, resume)
        self.root = root
        self.encoded: dict[str, EncodedRow] = {}
        self.rejected: dict[str, str] = {}
        self._read_tables()
        self._write_tables()

    def _read_tables(self) -> None:
        for file, *fields in self._run.rows("encoded.tsv", 4):
            output, tokens, dropped = fields
            if (self.root / output).is_file():
                self.encoded[file] = EncodedRow(output, int(tokens), int(dropped))
        for file, reason in self._run.rows("rejected.tsv", 2):
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
        self._run.append("encoded.tsv", self._encoded_line(name))

    def reject(self, file: Path, reason: str) -> None:
        """Note that ``file`` gives no piece. Raises OSError."""
        name = one_line(str(file))
        self.rejected[name] = one_line(reason)
        self._run.append("rejected.tsv", self._rejected_line(name))

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
