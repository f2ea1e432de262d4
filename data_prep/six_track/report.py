"""What became of every file of a preparation: one row each, duplicates settled, survivors per rule.

``report.tsv`` grows by a row whenever a file is done with. When the run ends, ``settle`` sorts it and
decides which of several copies of a song stays: the one whose name comes first, whatever order the files
were read in. Rows are read twice and never held all at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

from data_prep.folders.files import from_bytes, one_line, to_bytes, whole_file
from data_prep.six_track.prepare_song import READABLE_RULE, Prepared, Rejected
from data_prep.six_track.rules import DUPLICATE_RULE, RULES

REPORT = "report.tsv"
ACCEPTED, REJECTED = "accepted", "rejected"
LIMITS_RULE = "limits"  # time, memory, a crash: another run may succeed
STAGES = (READABLE_RULE, LIMITS_RULE, *RULES, DUPLICATE_RULE)


@dataclass(frozen=True)
class ReportRow:
    """A row of ``report.tsv``; all fields are text, empty where they say nothing.

    ``file``: name below MIDI_DIR, escaped by ``files.one_line``. ``fate``: accepted or rejected; ``rule``
    and ``reason``: which rule it breaks and how. ``output``: name of the song below OUT_DIR. ``notes``,
    ``bars``: of the prepared song. ``offset``: positions (twelfths of a quarter) its onsets were late.
    ``on_grid``: how strongly onsets gather at subdivisions of the beat, 0-1. ``melody``: number and name
    of its tracks; ``margin``: lead of its score over the next track's. ``fingerprint``: see
    ``rules.fingerprint``.
    """

    file: str
    fate: str
    rule: str = ""
    reason: str = ""
    output: str = ""
    notes: str = ""
    bars: str = ""
    offset: str = ""
    on_grid: str = ""
    melody: str = ""
    margin: str = ""
    fingerprint: str = ""

    def line(self) -> str:
        """The row as a line of the table."""
        return "\t".join(astuple(self)) + "\n"


COLUMNS = tuple(field.name for field in fields(ReportRow))
HEADER = "\t".join(COLUMNS) + "\n"


def row_of(file: Path, outcome: Prepared | Rejected, output: str) -> ReportRow:
    """The row of a file; ``output`` is where a prepared song lies."""
    name = one_line(str(file))
    if isinstance(outcome, Rejected):
        return ReportRow(name, REJECTED, outcome.rule, one_line(outcome.reason))
    return ReportRow(
        file=name,
        fate=ACCEPTED,
        output=one_line(output),
        notes=str(outcome.notes),
        bars=str(outcome.bars),
        offset=f"{outcome.offset:.2f}",
        on_grid=f"{outcome.concentration:.2f}",
        melody=one_line(outcome.melody),
        margin=f"{outcome.margin:.2f}" if outcome.melody else "",
        fingerprint=outcome.fingerprint,
    )


def read_report(path: Path) -> Iterator[ReportRow]:
    """The complete rows of a report, none when there is no report; a line cut short is left out."""
    if path.is_file():
        yield from (row for _, row in _rows_and_offsets(path))


def _rows_and_offsets(path: Path) -> Iterator[tuple[int, ReportRow]]:
    """The complete rows and the byte each begins at."""
    offset = 0
    with path.open("rb") as stream:
        for line in stream:
            values = from_bytes(line).removesuffix("\n").split("\t")
            if line.endswith(b"\n") and len(values) == len(COLUMNS) and offset > 0:
                yield offset, ReportRow(*values)
            offset += len(line)


def settle(sources: Sequence[Path], target: Path, duplicates: bool, dropped: frozenset[str] = frozenset()) -> Counter:
    """Write the rows of ``sources`` (reports) to ``target``, sorted by file; how many broke each rule ("": none).

    Of several rows of one file the last holds. With ``duplicates`` the first file of each fingerprint is
    accepted and the others are rejected as its duplicates. Files in ``dropped`` are left out. ``target``
    may be one of the sources. Raises OSError.
    """
    sources = [source for source in sources if source.is_file()]
    offsets: dict[str, tuple[int, int]] = {}
    for index, source in enumerate(sources):
        for offset, row in _rows_and_offsets(source):
            offsets[row.file] = (index, offset)
    for name in dropped:
        offsets.pop(name, None)
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    streams = [source.open("rb") for source in sources]
    try:
        with whole_file(target) as written:
            written.write(to_bytes(HEADER))
            for name in sorted(offsets):
                index, offset = offsets[name]
                streams[index].seek(offset)
                row = ReportRow(*from_bytes(streams[index].readline()).removesuffix("\n").split("\t"))
                if duplicates and row.fingerprint:
                    row = _settled(row, first.setdefault(row.fingerprint, row.file))
                counts[row.rule] += 1
                written.write(to_bytes(row.line()))
    finally:
        for stream in streams:
            stream.close()
    return counts


def _settled(row: ReportRow, first: str) -> ReportRow:
    """``row`` in the light of the first file with its fingerprint."""
    if row.file == first:
        return replace(row, fate=ACCEPTED, rule="", reason="")
    return replace(row, fate=REJECTED, rule=DUPLICATE_RULE, reason=f"duplicate: of {first}")


def funnel(counts: Counter, stages: Iterable[str]) -> list[str]:
    """The paper's funnel: how many files are left after each of ``stages``, line by line."""
    left = counts.total()
    lines = [f"{'files':12} {left:8d}"]
    for stage in stages:
        left -= counts[stage]
        lines.append(f"{stage:12} {left:8d}   {-counts[stage]:d}" if counts[stage] else f"{stage:12} {left:8d}")
    return lines
