"""The first bars of a song as a prompt: one line of tokens for ``fairseq-interactive``.

    python -m data_prep.prompt SONG.mid --dict dict.txt --bars 8

Prints two lines: the semitones that brought the song to C major or A minor, as the training songs are, and
the tokens. ``tokens_to_midi --transpose`` takes the negative of the first to bring the result back.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from data_prep.command import CommandError, positive, run_command
from data_prep.tokens.encode import check_encodable, encode, normalising_shift
from data_prep.tokens.song import SongError, read_song
from data_prep.tokens.vocabulary import END_OF_BAR, Representation, TokenError, representation_of


def prompt_of(song_path: Path, representation: Representation, bars: int) -> tuple[int, list[str]]:
    """(semitones of the shift, tokens of the first ``bars`` bars; of all where there are fewer).

    Raises SongError saying why the song cannot be encoded.
    """
    song = read_song(song_path)
    check_encodable(song, representation)
    tokens = encode(song, representation)
    return normalising_shift(song), first_bars(tokens, bars)


def first_bars(tokens: Sequence[str], bars: int) -> list[str]:
    """The first ``bars`` bars of ``tokens``; all of them where there are fewer."""
    ends = [0, *(end for end, token in enumerate(tokens, start=1) if token == END_OF_BAR)]
    return list(tokens[: ends[bars]] if bars < len(ends) else tokens)


def read_representation(dict_path: Path) -> Representation:
    """The representation that ``dict.txt`` spells. Raises CommandError when it is missing or foreign."""
    if not dict_path.is_file():
        raise CommandError(f"There is no dictionary at {dict_path}.")
    lines = dict_path.read_text(encoding="utf-8", errors="replace").splitlines()
    try:
        return representation_of(line.rpartition(" ")[0] for line in lines)
    except TokenError as error:
        raise CommandError(f"{dict_path}: {error}.") from None


def _run(args: argparse.Namespace) -> int:
    representation = read_representation(args.dict)
    if not args.song.is_file():
        raise CommandError(f"There is no MIDI file at {args.song}.")
    try:
        shift, tokens = prompt_of(args.song, representation, args.bars)
    except SongError as error:
        fault = str(error).partition(";")[0]
        raise CommandError(
            f"{args.song} cannot be a prompt: {fault}; this model was trained on {representation.name} songs: choose "
            f"such a song, or a model of the general representation."
        ) from None
    print(shift)
    print(" ".join(tokens))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m data_prep.prompt", description=__doc__.split("\n")[0])
    parser.add_argument("song", metavar="SONG.mid", type=Path, help="the song to continue")
    parser.add_argument("--dict", required=True, type=Path, help="the model's dict.txt, which says how to spell tokens")
    parser.add_argument("--bars", required=True, type=positive, help="how many bars to take")
    args = parser.parse_args(arguments)
    return run_command(lambda: _run(args), "Interrupted.")


if __name__ == "__main__":
    sys.exit(main())
