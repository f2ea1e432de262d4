"""The form of each song, and which bars repeat which, as they can be heard.

    python -m data_prep.song_forms splits/train.tokens --most-bars 64 > forms.txt

prints a line for each piece, such as ``i4A8A8B8A8o2 7-8=5-6:melody+bass``: its sections, and of each bar that repeats
another which tracks do so to the note (see ``data_prep.form.outlines``). ``--form forms.txt`` writes songs in forms
drawn from such a list, with a model of the same tracks; ``--any-tracks`` says nothing of tracks, so that models of any
take it. TOKENS are token files (one piece a line), folders of them (.txt, .tokens), or what ``fairseq-generate``
printed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from data_prep.command import CommandError, positive, run_command
from data_prep.form.hear import hear_tokens
from data_prep.form.outlines import Outline, outline_of, outline_text
from data_prep.form.unchanged import unchanged_text, unchanged_tracks
from data_prep.tokens.encode import MAX_BARS
from data_prep.tokens.grammar import coded_tokens
from data_prep.tokens.token_files import read_token_lines, token_sources
from data_prep.tokens.vocabulary import detect_representation


def _run(args: argparse.Namespace) -> int:
    lines = (line.text.split() for source in token_sources(args.tokens) for line in read_token_lines(source.path))
    listed = 0
    for tokens in tqdm(lines, desc="songs", unit="song", leave=False):
        outline = _heard_outline(tokens, args.any_tracks)
        if 0 < outline.num_bars <= args.most_bars:
            print(outline_text(outline))
            listed += 1
    if not listed:
        raise CommandError(f"No piece has from 1 to {args.most_bars} bars.")
    return 0


def _heard_outline(tokens: Sequence[str], any_tracks: bool) -> Outline:
    """The outline of a piece's complete bars; with ``any_tracks`` it does not say which tracks repeat to the note.

    Words that are no tokens are passed over.
    """
    representation = detect_representation(tokens)
    coded = coded_tokens(tokens, representation)
    notes, form = hear_tokens(coded[:, 0], coded[:, 1], representation)
    if any_tracks:
        return outline_of(form.sections, form.repeats, [""] * len(form.repeats))
    names = [representation.name_of(instrument) for instrument in representation.instruments]
    unchanged = unchanged_tracks(notes, form.repeats, representation.instruments)
    return outline_of(form.sections, form.repeats, [unchanged_text(row, names) for row in unchanged])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m data_prep.song_forms", description=__doc__.split("\n")[0])
    parser.add_argument("tokens", metavar="TOKENS", nargs="+", type=Path, help="token files or folders of them")
    parser.add_argument("--most-bars", type=positive, default=MAX_BARS, help="leave longer pieces out")
    parser.add_argument("--any-tracks", action="store_true", help="say nothing of which tracks repeat to the note")
    args = parser.parse_args(arguments)
    return run_command(lambda: _run(args), "Interrupted.")


if __name__ == "__main__":
    sys.exit(main())
