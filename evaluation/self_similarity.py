"""Bar-by-bar self-similarity: which bars of a piece repeat which, as a matrix and as a picture.

    python -m evaluation.self_similarity PIECES PNG [--piece N]

draws the pieces of a token file, or of what ``generate.sh`` and fairseq's commands leave: all instruments
above, the melody (program 80) below; with ``--piece`` the Nth alone, side by side.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from data_prep.command import CommandError, positive, run_command
from data_prep.similarity.bars import TRACKS
from data_prep.similarity.matrix import similarity_matrix
from data_prep.similarity.plot import write_figure
from data_prep.tokens.note_table import note_table
from data_prep.tokens.token_files import read_token_lines


def self_similarity(line: str, instrument: int | None = None) -> np.ndarray:
    """float64 [bars, bars]: |A and B| / |A or B| of the bars' notes, equal in onset, pitch and duration.

    As ``data_prep.similarity.bars`` defines it, with ``instrument`` None for all, where equal notes have
    equal instruments too. NaN where both bars are empty.
    """
    table = note_table([line])
    return similarity_matrix(table.notes_of(instrument), len(table.bar_pieces))


def draw_self_similarity(rows: Sequence[Sequence[tuple[str, np.ndarray]]], png_path: Path) -> None:
    """Draw matrices with their titles, row by row: dark is alike, grey is empty. Raises OSError."""
    columns = max(len(row) for row in rows)
    figure = Figure(figsize=(3.4 * columns + 0.8, 3.5 * len(rows)), dpi=110, facecolor="white", layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    image = None
    for row, row_axes in zip(rows, axes):
        for column, axis in enumerate(row_axes):
            if column >= len(row) or not row[column][1].size:
                axis.axis("off")
                continue
            title, matrix = row[column]
            axis.set_facecolor("#DDDDDD")
            edges = (0.5, len(matrix) + 0.5)
            image = axis.imshow(matrix, vmin=0, vmax=1, cmap="magma_r", extent=(*edges, *edges[::-1]))
            axis.set_title(title, fontsize=9)
            axis.tick_params(labelsize=8)
    if image is not None:
        figure.colorbar(image, ax=axes, label="similarity of two bars", shrink=0.7)
    write_figure(figure, png_path)


def draw_pieces(path: Path, png_path: Path, piece: int | None = None) -> None:
    """Draw the pieces of a file, or the one numbered ``piece`` from 1; raises CommandError where there is none."""
    pieces = list(read_token_lines(path))
    if piece is not None and piece > len(pieces):
        raise CommandError(f"{path} holds {len(pieces)} pieces; there is no number {piece}.")
    chosen = pieces if piece is None else pieces[piece - 1 : piece]
    matrices = [
        [(f"{line.name}, {track}", self_similarity(line.text, TRACKS[track])) for line in chosen]
        for track in ("all", "melody")
    ]
    draw_self_similarity(matrices if piece is None else [[*matrices[0], *matrices[1]]], png_path)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m evaluation.self_similarity", description=__doc__.split("\n")[0])
    parser.add_argument("pieces", type=Path, metavar="PIECES", help="token file, or generated.txt")
    parser.add_argument("png", type=Path, metavar="PNG", help="picture to write")
    parser.add_argument("--piece", type=positive, help="draw the Nth piece alone")
    options = parser.parse_args(arguments)

    def draw() -> int:
        draw_pieces(options.pieces, options.png, options.piece)
        return 0

    return run_command(draw, "Interrupted; no picture was written.")


if __name__ == "__main__":
    sys.exit(main())
