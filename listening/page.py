"""Write a page to listen on beside MIDI files.

    python -m listening.page OUT_DIR

writes ``OUT_DIR/index.html``: the songs ``generated*.mid`` of the folder, or all its MIDI files where none has such a
name, with the details that ``OUT_DIR/songs.json`` holds (``listening.details`` describes it). The page needs nothing
but itself. An earlier index.html that this command wrote is replaced. Exit status 1 when a song could not be shown, the
page naming it, or when songs.json was wrong.
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_prep.command import CommandError, run_command
from data_prep.folders.files import write_whole
from data_prep.tokens.song import SongError
from listening.details import FILE_NAME, Details, SongDetails, read_details
from listening.document import html_document
from listening.songs import read_for_page

PAGE_NAME = "index.html"
# How a page of ours is known from someone else's.
MARK = b'<meta name="generator" content="listening.page">'
_logger = logging.getLogger(__name__)


def write_page(folder: Path) -> list[str]:
    """Write the page of ``folder``; returns a sentence for each thing that is missing from it.

    Raises CommandError when the folder holds no MIDI file or another's index.html, OSError when it cannot be written.
    """
    paths = midi_files(folder)
    if not paths:
        raise CommandError(f"{folder} holds no MIDI file; name the folder that the songs lie in.")
    page = folder / PAGE_NAME
    if page.exists() and MARK not in page.read_bytes()[:1000]:
        raise CommandError(f"{page} is not a page of this command and is left alone; move it away.")
    details = read_details(folder)
    data = page_data(paths, details)
    write_whole(page, html_document(data))
    faults: list[str] = data["faults"]
    return faults


def midi_files(folder: Path) -> list[Path]:
    """``generated*.mid`` in ``folder``, or else all MIDI files; 2 comes before 10. Raises OSError."""
    found = [path for path in folder.iterdir() if path.suffix.lower() in (".mid", ".midi") and path.is_file()]
    generated = [path for path in found if path.name.startswith("generated")]
    return sorted(generated or found, key=_by_numbers)


def _by_numbers(path: Path) -> tuple[list[tuple[int, str]], str]:
    parts = re.split(r"([0-9]+)", path.name.casefold())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], path.name


def page_data(paths: Sequence[Path], details: Details) -> dict[str, Any]:
    """What the page shows, as JSON data; songs that cannot be read become sentences in ``faults``."""
    songs: list[dict[str, Any]] = []
    faults = list(details.faults)
    for path in paths:
        try:
            song = read_for_page(path)
        except SongError as error:
            faults.append(f"{path.name} cannot be shown: {error}.")
        else:
            songs.append(song | _placed(details.songs.get(path.name, SongDetails()), song, faults))
    names = {path.name for path in paths}
    faults += [f"{FILE_NAME} names {name}, which is not here." for name in details.songs if name not in names]
    return {"songs": songs, "controls": details.controls, "faults": faults}


def _placed(details: SongDetails, song: dict[str, Any], faults: list[str]) -> dict[str, Any]:
    """The details with bars counted from 0, ends excluded; what lies outside the song is cut off and told."""
    bars = len(song["bars"]) - 1
    spans = [("", first - details.first_bar, last + 1 - details.first_bar) for first, last in details.given_bars]
    sections = [(name, first - details.first_bar, first - details.first_bar + n) for name, first, n in details.sections]
    if any(start < 0 or end > bars for _, start, end in (*spans, *sections)):
        last = details.first_bar + bars - 1
        faults.append(
            f"{FILE_NAME}, {song['file']}: given bars or sections lie outside its bars {details.first_bar} to {last}."
        )
    return {
        "first_bar": details.first_bar,
        "given": [(start, end) for _, start, end in _within(spans, bars)],
        "sections": _within(sections, bars),
    }


def _within(spans: Sequence[tuple[str, int, int]], bars: int) -> list[tuple[str, int, int]]:
    cut = [(name, max(start, 0), min(end, bars)) for name, start, end in spans]
    return [(name, start, end) for name, start, end in cut if start < end]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m listening.page", description=__doc__.split("\n")[0])
    parser.add_argument("out_dir", type=Path, metavar="OUT_DIR", help="the folder of the songs")
    folder = parser.parse_args(arguments).out_dir

    def write() -> int:
        if not folder.is_dir():
            raise CommandError(f"There is no folder {folder}.")
        faults = write_page(folder)
        for fault in faults:
            _logger.warning("%s", fault)
        return 1 if faults else 0

    return run_command(write, "Interrupted; no page was written.")


if __name__ == "__main__":
    sys.exit(main())
