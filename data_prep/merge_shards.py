"""Put the parts of a preparation that ran with --shard together, as one run would have made them.

    python -m data_prep.merge_shards SHARD_DIR... OUT_DIR

Songs are copied, rows are merged, and copies of a song that lay in different parts are settled.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from data_prep.command import CommandError, run_command
from data_prep.folders.files import from_one_line, write_whole
from data_prep.folders.run_folder import RunFolder, Settings, read_settings
from data_prep.six_track.prepared_folder import FUNNEL, close_report
from data_prep.six_track.report import ACCEPTED, REPORT, read_report
from data_prep.six_track.rules import DUPLICATE_RULE

_logger = logging.getLogger(__name__)


def whole_settings(shards: Sequence[Path]) -> Settings:
    """The settings of the run that ``shards`` are the parts of.

    Raises CommandError when one is incomplete or no part, when they were made with different settings, or
    when they are not each part once.
    """
    parts: dict[str, Path] = {}
    common: Settings = {}
    for shard in shards:
        settings = read_settings(shard) if shard.is_dir() else None
        if settings is None or "shard" not in settings:
            raise CommandError(f"{shard} is not the output of data_prep.prepare_six_track.")
        if not (shard / FUNNEL).is_file():
            raise CommandError(f"{shard} is not complete; finish it with --resume first.")
        part = str(settings["shard"])
        settings = {**settings, "shard": "1/1"}
        if parts and settings != common:
            raise CommandError(f"{shard} and {shards[0]} were made with different options; see their settings.json.")
        if part in parts:
            raise CommandError(f"{shard} and {parts[part]} are both part {part}.")
        common, parts[part] = settings, shard
    count = int(next(iter(parts)).partition("/")[2])
    missing = [f"{number}/{count}" for number in range(1, count + 1) if f"{number}/{count}" not in parts]
    if missing or len(parts) != count:
        raise CommandError(f"These are not the {count} parts of one run; missing: {', '.join(missing) or 'none'}.")
    return common


def merge_shards(shards: Sequence[Path], out_dir: Path, resume: bool) -> int:
    """Merge complete parts into ``out_dir``; the exit status. Raises CommandError and OSError."""
    settings = whole_settings(shards)
    RunFolder(out_dir, "songs", settings, resume)
    kept: dict[str, str] = {}  # fingerprint -> first file
    if DUPLICATE_RULE not in settings["rules left out"]:
        for shard in shards:
            for row in read_report(shard / REPORT):
                if row.fingerprint:
                    kept[row.fingerprint] = min(row.file, kept.get(row.fingerprint, row.file))
    for shard in tqdm(shards, desc="copying", disable=None):
        for row in read_report(shard / REPORT):
            if row.fate == ACCEPTED and kept.get(row.fingerprint, row.file) == row.file:
                output = Path(from_one_line(row.output))
                write_whole(out_dir / output, (shard / output).read_bytes())
    return close_report(out_dir, [shard / REPORT for shard in shards], settings)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m data_prep.merge_shards",
        description="Put the parts made by prepare_six_track --shard together.",
    )
    parser.add_argument("shards", metavar="SHARD_DIR", nargs="+", type=Path, help="the OUT_DIR of each part")
    parser.add_argument("out_dir", metavar="OUT_DIR", type=Path, help="new folder for songs and report")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted merge")
    args = parser.parse_args(arguments)
    return run_command(
        lambda: merge_shards(args.shards, args.out_dir, args.resume), "Interrupted; --resume goes on from here."
    )


if __name__ == "__main__":
    sys.exit(main())
