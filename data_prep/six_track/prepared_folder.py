"""The folder that a preparation fills: songs, ``report.tsv``, and ``funnel.txt`` once it is complete."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from data_prep.folders.files import from_one_line, one_line, to_bytes, write_whole
from data_prep.folders.run_folder import RunFolder, Settings
from data_prep.six_track.prepare_song import Prepared, Rejected
from data_prep.six_track.report import (
    ACCEPTED,
    LIMITS_RULE,
    REPORT,
    STAGES,
    funnel,
    read_report,
    row_of,
    settle,
)
from data_prep.six_track.rules import DUPLICATE_RULE

FUNNEL = "funnel.txt"
_logger = logging.getLogger(__name__)


class PreparedFolder:
    """The output of one run; see ``RunFolder`` for its arguments and errors.

    ``done`` holds a digest of the name of every file that is done with. On resuming, files whose song has vanished
    and files that failed at a limit are not.
    """

    def __init__(self, root: Path, settings: Settings, resume: bool) -> None:
        self.root = root
        self._settings = settings
        self._run = RunFolder(root, "songs", settings, resume)
        (root / FUNNEL).unlink(missing_ok=True)
        report = root / REPORT
        settle([report], report, duplicates=False, dropped=self._to_be_done_again(report))
        self.done = {_digest(row.file) for row in read_report(report)}

    def _to_be_done_again(self, report: Path) -> frozenset[str]:
        again, lost = set(), set()
        for row in read_report(report):
            vanished = row.fate == ACCEPTED and not (self.root / from_one_line(row.output)).is_file()
            if vanished or row.rule == LIMITS_RULE:
                again.add(row.file)
                lost.add(row.fingerprint)
        # A copy of a song that has vanished may be needed again, and its own song is gone too.
        again.update(row.file for row in read_report(report) if row.rule == DUPLICATE_RULE and row.fingerprint in lost)
        return frozenset(again)

    def has(self, file: Path) -> bool:
        """Whether ``file`` is done with."""
        return _digest(one_line(str(file))) in self.done

    def add(self, file: Path, outcome: Prepared | Rejected, output: Path) -> None:
        """Write a song that was prepared to ``output``, and a row for ``file``. Raises OSError."""
        if isinstance(outcome, Prepared):
            write_whole(self.root / output, outcome.midi)
        row = row_of(file, outcome, str(output))
        self._run.append(REPORT, row.line())
        self.done.add(_digest(row.file))

    def finish(self) -> int:
        """Settle duplicates, write the funnel and tell it; the exit status. Raises OSError."""
        return close_report(self.root, [self.root / REPORT], self._settings)


def close_report(root: Path, reports: Sequence[Path], settings: Settings) -> int:
    """Settle ``reports`` into that of ``root``, remove songs that are duplicates, write and tell the funnel.

    Returns the exit status of the command. Raises OSError.
    """
    left_out = settings["rules left out"]
    counts = settle(reports, root / REPORT, duplicates=DUPLICATE_RULE not in left_out)
    for row in read_report(root / REPORT):
        if row.fate != ACCEPTED and row.output:
            (root / from_one_line(row.output)).unlink(missing_ok=True)
    lines = funnel(counts, [stage for stage in STAGES if stage not in left_out])
    write_whole(root / FUNNEL, to_bytes("".join(line + "\n" for line in lines)))
    return _tell(root, counts, lines, may_be_empty=settings["shard"] != "1/1")


def _tell(root: Path, counts: Counter, lines: Sequence[str], may_be_empty: bool) -> int:
    for line in lines:
        _logger.info("%s", line)
    crashes = sum(row.reason.startswith("crash:") for row in read_report(root / REPORT)) if counts[LIMITS_RULE] else 0
    if crashes:
        _logger.error("The worker crashed on %d files; the others are done.", crashes)
    if not counts[""] and not may_be_empty:
        _logger.error("No song was accepted; %s says why.", root / REPORT)
    return 0 if (counts[""] or may_be_empty) and not crashes else 1


def _digest(name: str) -> int:
    """64 bits that stand for ``name``: a million of them take a fraction of what the names would."""
    return int.from_bytes(hashlib.blake2b(to_bytes(name), digest_size=8).digest(), "big")
