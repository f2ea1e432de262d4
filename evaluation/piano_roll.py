"""Draw songs as piano rolls.

    python -m evaluation.piano_roll MIDI... OUT_DIR [--prompt-bars K]

writes ``OUT_DIR/NAME.png`` for each MIDI file: pitch over bars, a colour for each instrument, the drums
in a strip of their own, sixteen bars to a line. With ``--prompt-bars`` the first K bars, which a model
was given to continue, are shaded. A file that cannot be drawn is reported and the others go on.
"""

from __future__ import annotations

import argparse
import sys
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from miditoolkit import MidiFile, TimeSignature

from data_prep.command import run_command
from data_prep.similarity.plot import write_figure
from data_prep.tokens.vocabulary import DEFAULT_METRE, DRUMS, SIX_TRACK

BARS_PER_SYSTEM = 16
MAX_SYSTEMS = 24  # a longer piece gets more bars to a line
MAX_BARS = 4000
_NAMES = SIX_TRACK.track_names()
# The colour-blind-safe palette of Okabe and Ito, and more; the tracks take the first in their order, and other
# programs the rest in turn.
_PALETTE = (
    "#D55E00", "#444444", "#0072B2", "#009E73", "#CC79A7", "#E0B020",
    "#56B4E9", "#8C6BB1", "#8C564B", "#7F9F3F", "#17A2A2", "#B22222", "#555599", "#999999",
)  # fmt: skip
_COLOURS = dict(zip(_NAMES, _PALETTE))
_MORE_COLOURS = _PALETTE[len(_NAMES) :]
_PROMPT_COLOUR = "#DCE9F7"
_BLACK_KEYS = (1, 3, 6, 8, 10)
_DRUM_NAMES = {
    35: "kick", 36: "kick", 37: "side stick", 38: "snare", 39: "clap", 40: "snare",
    41: "floor tom", 43: "floor tom", 45: "low tom", 47: "mid tom", 48: "mid tom", 50: "high tom",
    42: "hi-hat", 44: "pedal hat", 46: "open hat", 49: "crash", 52: "china", 55: "splash", 57: "crash",
    51: "ride", 53: "ride bell", 59: "ride", 54: "tambourine", 56: "cowbell", 70: "shaker", 75: "claves",
}  # fmt: skip


class DrawingError(ValueError):
    """A file that cannot be drawn; the message is a whole sentence."""


@dataclass(frozen=True)
class Roll:
    """A song ready to draw: for each instrument (program, or 128) an array [notes, 4].

    Columns are start and end in bars from 0, pitch and velocity. Every bar is one wide, whatever its
    metre.
    """

    notes: Mapping[int, np.ndarray]
    bars: int


def bar_starts(metres: Sequence[TimeSignature], ticks_per_quarter: int, last_tick: int) -> list[float]:
    """Ticks of the bar lines, from 0 to the first one after ``last_tick``.

    A change of metre inside a bar takes effect at the next bar line, as in our tokens; 4/4 before the
    first. Raises DrawingError beyond MAX_BARS bars.
    """
    changes = sorted(metres, key=lambda metre: metre.time)
    times = [metre.time for metre in changes]
    starts = [0.0]
    while starts[-1] <= last_tick:
        if len(starts) > MAX_BARS:
            raise DrawingError(f"has more than {MAX_BARS} bars")
        index = bisect_right(times, starts[-1]) - 1
        metre = changes[index] if index >= 0 else None
        numerator, denominator = (metre.numerator, metre.denominator) if metre else DEFAULT_METRE
        if numerator < 1:
            raise DrawingError("has a bar of length zero")
        starts.append(starts[-1] + 4 * ticks_per_quarter * numerator / denominator)
    return starts


def read_roll(midi_path: Path) -> Roll:
    """Read a MIDI file. Raises DrawingError, with the reason, when it cannot be drawn."""
    try:
        midi = MidiFile(str(midi_path))
    except Exception as error:  # what broken bytes raise inside the MIDI library has no common class
        detail = f": {error}" if str(error) else ""
        raise DrawingError(f"cannot be read as MIDI ({type(error).__name__}{detail})") from None
    return roll_of(midi)


def roll_of(midi: MidiFile) -> Roll:
    """A parsed or decoded song. Raises DrawingError, with the reason, when it cannot be drawn."""
    gathered: dict[int, list[tuple[int, int, int, int]]] = {}
    for track in midi.instruments:
        instrument = DRUMS if track.is_drum else track.program
        notes = gathered.setdefault(instrument, [])
        notes += [(n.start, n.end, n.pitch, n.velocity) for n in track.notes]
    gathered = {instrument: notes for instrument, notes in gathered.items() if notes}
    if not gathered:
        raise DrawingError("contains no notes")
    last_onset = max(start for notes in gathered.values() for start, *_ in notes)
    last_tick = max(last_onset, max(end for notes in gathered.values() for _, end, *_ in notes) - 1)
    starts = bar_starts(midi.time_signature_changes, midi.ticks_per_beat, last_tick)
    in_bars: dict[int, np.ndarray] = {}
    for instrument in sorted(gathered, key=_drawing_order):
        table = np.array(gathered[instrument], dtype=float)
        table[:, :2] = np.interp(table[:, :2], starts, np.arange(len(starts)))
        in_bars[instrument] = table
    return Roll(in_bars, len(starts) - 1)


def _drawing_order(instrument: int) -> tuple[bool, int]:
    """The six tracks in the order of their tokens, then the other programs."""
    order = SIX_TRACK.instruments
    return (False, order.index(instrument)) if instrument in order else (True, instrument)


def draw_piano_roll(roll: Roll, png_path: Path, title: str, prompt_bars: int = 0) -> None:
    """Draw a song to a PNG, with the shade of a prompt. Raises OSError when the picture cannot be written."""
    per_system = max(BARS_PER_SYSTEM, -(-roll.bars // MAX_SYSTEMS))
    systems = -(-roll.bars // per_system)
    colours = _colours(roll)
    pitched = [instrument for instrument in roll.notes if instrument != DRUMS]
    heights = ([2.9] if pitched else []) + ([_strip_height(roll)] if DRUMS in roll.notes else [])

    header, footer, gap = 0.6, 0.05, 0.36  # inches
    height = header + footer + systems * (sum(heights) + gap)
    figure = Figure(figsize=(15, height), dpi=110, facecolor="white")
    left, width = 0.062, 0.926
    top = height - header
    for system in range(systems):
        first = system * per_system
        shown = (first, min(first + per_system, roll.bars))
        # A short last line keeps its bars as wide as the others; a short song fills its only line.
        system_width = width * (shown[1] - first) / min(per_system, roll.bars)
        for row, row_height in enumerate(heights):
            top -= row_height
            axes = figure.add_axes((left, top / height, system_width, (row_height - 0.05) / height))
            if row == 0 and pitched:
                _draw_pitches(axes, roll, pitched, colours, shown)
            else:
                _draw_drums(axes, roll, colours[DRUMS], shown)
            _draw_bars(axes, shown, prompt_bars, numbered=row == len(heights) - 1)
        top -= gap
    figure.text(left, 1 - 0.3 / height, title, fontsize=15, weight="bold", va="center")
    handles = [Patch(color=colours[i], label=_NAMES.get(i, f"program {i}")) for i in roll.notes]
    if prompt_bars:
        handles.append(Patch(facecolor=_PROMPT_COLOUR, edgecolor="#9DB7D5", label="prompt"))
    figure.legend(
        handles=handles,
        loc="upper right",
        bbox_to_anchor=(left + width, 1 - 0.08 / height),
        ncols=min(len(handles), 9),
        frameon=False,
        fontsize=10,
        handlelength=1.2,
        columnspacing=1.4,
    )
    write_figure(figure, png_path)


def _colours(roll: Roll) -> dict[int, str]:
    others = [instrument for instrument in roll.notes if instrument not in _COLOURS]
    more = {instrument: _MORE_COLOURS[n % len(_MORE_COLOURS)] for n, instrument in enumerate(others)}
    return {**_COLOURS, **more}


def _drum_keys(roll: Roll) -> list[int]:
    """The drums in use, from the bottom of the kit to the top, unnamed ones last."""
    order = {key: rank for rank, key in enumerate(_DRUM_NAMES)}
    used = {int(pitch) for pitch in roll.notes[DRUMS][:, 2]}
    return sorted(used, key=lambda key: (order.get(key, len(order)), key))


def _strip_height(roll: Roll) -> float:
    """Inches for the drum strip: a readable line for each drum in use."""
    return min(max(0.13 * len(_drum_keys(roll)), 0.4), 2.0) + 0.05


def _visible(table: np.ndarray, shown: tuple[int, int]) -> np.ndarray:
    """Notes that sound within the bars shown, cut at their edges."""
    table = table[(table[:, 0] < shown[1]) & ((table[:, 1] > shown[0]) | (table[:, 0] >= shown[0]))].copy()
    table[:, :2] = np.clip(table[:, :2], *shown)
    return table


def _rectangles(starts: np.ndarray, ends: np.ndarray, rows: np.ndarray, height: float) -> np.ndarray:
    """Corners [notes, 4, 2] of rectangles centred on ``rows``."""
    low, high = rows - height / 2, rows + height / 2
    x = np.stack([starts, ends, ends, starts], axis=1)
    y = np.stack([low, low, high, high], axis=1)
    return np.stack([x, y], axis=2)


def _shaded(colour: str, velocities: np.ndarray) -> np.ndarray:
    """RGB rows of ``colour``, paler for softer notes but opaque, so that overlaps stay clear."""
    strength = (0.45 + 0.55 * velocities / 127)[:, None]
    return strength * np.array(to_rgb(colour)) + (1 - strength)


def _draw_pitches(
    axes: Axes, roll: Roll, pitched: list[int], colours: Mapping[int, str], shown: tuple[int, int]
) -> None:
    pitches = np.concatenate([roll.notes[instrument][:, 2] for instrument in pitched])
    low, high = int(pitches.min()) - 2, int(pitches.max()) + 2
    if high - low < 24:
        low, high = (low + high) // 2 - 12, (low + high) // 2 + 12
    for pitch in range(low, high + 1):
        if pitch % 12 in _BLACK_KEYS:
            axes.axhspan(pitch - 0.5, pitch + 0.5, color="#000000", alpha=0.035, lw=0)
        elif pitch % 12 == 0:
            axes.axhline(pitch - 0.5, color="#000000", alpha=0.18, lw=0.6)
    # Later tracks lie below and are drawn wider, so that a doubled note shows at the edges.
    for depth, instrument in reversed(list(enumerate(pitched))):
        table = _visible(roll.notes[instrument], shown)
        # A sliver of air keeps repeated notes apart.
        ends = np.maximum(table[:, 1] - 0.012, table[:, 0] + 0.008)
        corners = _rectangles(table[:, 0], ends, table[:, 2], min(0.9 + 0.08 * depth, 1.3))
        faces = _shaded(colours[instrument], table[:, 3])
        axes.add_collection(PolyCollection(corners, facecolors=faces, linewidths=0, zorder=3))
    axes.set_ylim(low - 0.5, high + 0.5)
    octaves = [pitch for pitch in range(low, high + 1) if pitch % 12 == 0]
    axes.set_yticks(octaves, [f"C{pitch // 12 - 1}" for pitch in octaves], fontsize=9)


def _draw_drums(axes: Axes, roll: Roll, colour: str, shown: tuple[int, int]) -> None:
    keys = _drum_keys(roll)
    rows = {key: row for row, key in enumerate(keys)}
    table = _visible(roll.notes[DRUMS], shown)
    heights = np.array([rows[int(key)] for key in table[:, 2]], dtype=float)
    corners = _rectangles(table[:, 0], table[:, 0] + 0.03, heights, 0.8)
    faces = _shaded(colour, table[:, 3])
    axes.add_collection(PolyCollection(corners, facecolors=faces, linewidths=0, zorder=3))
    axes.set_ylim(-0.7, len(keys) - 0.3)
    axes.set_yticks(range(len(keys)), [_DRUM_NAMES.get(key, str(key)) for key in keys], fontsize=6.5)


def _draw_bars(axes: Axes, shown: tuple[int, int], prompt_bars: int, numbered: bool) -> None:
    """Bar lines, a heavier one every fourth, the prompt's shade, and bar numbers from 1."""
    first, end = shown
    axes.set_xlim(first, end)
    if first < prompt_bars:
        axes.axvspan(first, min(prompt_bars, end), color=_PROMPT_COLOUR, lw=0, zorder=0)
    for bar in range(first, end + 1):
        heavy = bar % 4 == 0
        axes.axvline(bar, color="#000000", alpha=0.4 if heavy else 0.16, lw=0.8 if heavy else 0.6, zorder=1)
    step = max(1, (end - first) // BARS_PER_SYSTEM)
    numbers = range(first, end, step) if numbered else []
    axes.set_xticks([bar + 0.5 for bar in numbers], [str(bar + 1) for bar in numbers], fontsize=9)
    axes.tick_params(length=0, pad=2, colors="#444444")
    for side in axes.spines.values():
        side.set_color("#BBBBBB")
        side.set_linewidth(0.6)


def _bar_count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of bars")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status: 0 when every file was drawn."""
    parser = argparse.ArgumentParser(prog="python -m evaluation.piano_roll", description=__doc__.split("\n")[0])
    parser.add_argument("midi", nargs="+", type=Path, metavar="MIDI", help="MIDI files to draw")
    parser.add_argument("out_dir", type=Path, metavar="OUT_DIR", help="folder for the pictures")
    parser.add_argument("--prompt-bars", type=_bar_count, default=0, help="shade this many first bars")
    args = parser.parse_args(arguments)
    return run_command(lambda: _run(args), "Interrupted; the pictures drawn so far are whole.")


def _run(options: argparse.Namespace) -> int:
    options.out_dir.mkdir(parents=True, exist_ok=True)
    status = 0
    drawn: set[Path] = set()
    for path in options.midi:
        target = options.out_dir / f"{path.stem}.png"
        try:
            if target in drawn:
                raise DrawingError(f"would overwrite {target}, just drawn from another file of that name")
            draw_piano_roll(read_roll(path), target, path.stem, options.prompt_bars)
            drawn.add(target)
        except DrawingError as error:
            print(f"piano_roll: {path} {error}.", file=sys.stderr)
            status = 1
        except OSError as error:
            print(f"piano_roll: {error}", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
