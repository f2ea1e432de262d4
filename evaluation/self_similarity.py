"""Bar-by-bar self-similarity: which bars of a piece repeat which, as a matrix and as a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from data_prep.files import write_whole
from data_prep.note_table import note_table


def self_similarity(line: str, instrument: int | None = None) -> np.ndarray:
    """float64 [bars, bars]: |A and B| / |A or B| of the bars' notes, equal in onset, pitch and duration.

    As ``data_prep.bar_similarity`` defines it, with ``instrument`` None for all, where equal notes have
    equal instruments too. NaN where both bars are empty.
    """
    table = note_table([line])
    notes = table.notes if instrument is None else table.notes[table.notes[:, 1] == instrument]
    kinds, kind = np.unique(notes[:, 1:], axis=0, return_inverse=True)
    held = np.zeros((len(table.bar_pieces), len(kinds)), dtype=np.float32)
    held[notes[:, 0], kind.reshape(-1)] = 1
    shared = (held @ held.T).astype(float)
    sizes = held.sum(axis=1).astype(float)
    union = sizes[:, np.newaxis] + sizes - shared
    return np.divide(shared, union, out=np.full(union.shape, np.nan), where=union > 0)


def draw_self_similarity(rows: Sequence[Sequence[tuple[str, np.ndarray]]], png_path: Path) -> None:
    """Draw matrices with their titles, row by row: dark is alike, grey is empty. Raises OSError."""
    columns = max(len(row) for row in rows)
    figure = Figure(figsize=(3.4 * columns + 0.8, 3.5 * len(rows)), dpi=110, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    image = None
    for row, row_axes in zip(rows, axes):
        for place, axis in enumerate(row_axes):
            if place >= len(row) or not row[place][1].size:
                axis.axis("off")
                continue
            title, matrix = row[place]
            axis.set_facecolor("#DDDDDD")
            edges = (0.5, len(matrix) + 0.5)
            image = axis.imshow(matrix, vmin=0, vmax=1, cmap="magma_r", extent=(*edges, *edges[::-1]))
            axis.set_title(title, fontsize=9)
            axis.tick_params(labelsize=8)
    if image is not None:
        figure.colorbar(image, ax=axes, label="similarity of two bars", shrink=0.7)
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    write_whole(png_path, stream.getvalue())
