"""Which pieces the names of a published split mean."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from data_prep.command import CommandError
from data_prep.folders.files import from_bytes

_SUFFIXES = (".txt", ".mid", ".midi")


def read_song_list(path: Path) -> list[str]:
    """The names in a list, one a line, each once. Raises CommandError when there is no such list."""
    if not path.is_file():
        raise CommandError(f"{path} is missing; a folder of lists holds train.txt, valid.txt and test.txt.")
    names = (line.strip() for line in from_bytes(path.read_bytes()).splitlines())
    return list(dict.fromkeys(name for name in names if name))


def listed_files(lists: Path, files: Iterable[Path]) -> tuple[list[Path], list[str]]:
    """Those of ``files`` that the lists (``lists``/*.txt) name, sorted, and the names that none of them has.

    Raises CommandError when there is no list.
    """
    names: dict[str, None] = {}
    for path in sorted(lists.glob("*.txt")):
        names.update(dict.fromkeys(read_song_list(path)))
    if not names:
        raise CommandError(f"{lists} holds no lists of songs (*.txt).")
    wanted = {stem for name in names for stem in _stems(PurePosixPath(name.replace("\\", "/")).name)}
    finder = SongFinder(file for file in files if file.stem in wanted)
    found: set[Path] = set()
    missing = []
    for name in names:
        files_of_name = finder.find(name)
        found.update(files_of_name)
        if not files_of_name:
            missing.append(name)
    return sorted(found), missing


class SongFinder:
    """Finds token files by the names people list: with or without folders in front, .txt, .mid or .midi.

    ``files`` are relative paths of token files. Where both sides have folders, the shorter path must be
    the tail of the longer one; of several such files those that share most folders are meant.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        for file in files:
            self._by_name[file.stem].append(file)

    def find(self, name: str) -> list[Path]:
        """The files that ``name`` may mean: none, one, or several when it is ambiguous."""
        path = PurePosixPath(name.replace("\\", "/"))
        for stem in _stems(path.name):
            folders = [part for part in path.parts[:-1] if part not in ("/", ".")]
            files = [file for file in self._by_name[stem] if _tails_agree(folders, file.parts[:-1])]
            # A name that gives the whole path means just that file, whatever else ends alike.
            exact = [file for file in files if list(file.parts[:-1]) == folders]
            if files:
                shared = max(min(len(folders), len(file.parts) - 1) for file in files)
                return exact or [file for file in files if len(file.parts) > shared]
        return []


def _stems(name: str) -> list[str]:
    """``name`` as it is, then without its suffix: ``a.mid`` may mean ``a.mid.txt`` before ``a.txt``."""
    suffix = next((suffix for suffix in _SUFFIXES if name.lower().endswith(suffix)), "")
    return [name, name[: -len(suffix)]] if suffix else [name]


def _tails_agree(ours: Sequence[str], theirs: Sequence[str]) -> bool:
    return all(a == b for a, b in zip(reversed(ours), reversed(theirs)))
