"""What the band can play: one-bar patterns, by style and instrument.

A drum line is a string of equal steps: ``X`` accented, ``x`` plain, ``o`` ghosted, ``.`` silent.
A pitched pattern is a row of equal steps separated by spaces; ``.`` is silence, ``-`` holds what
sounds, anything else names voices of the current chord, as many as are struck together:

- bass: ``R`` root, ``3`` third, ``5`` fifth, ``L`` a semitone below the next bar's root;
- guitar: ``1`` lowest string sounding, to ``5``; ``v`` all (downstroke), ``^`` the top three (upstroke);
- piano: ``L`` left hand on the root, right hand ``1`` to ``3`` single notes from below, ``*`` all;
- strings: ``R`` root, ``*`` the three upper parts.
"""

from __future__ import annotations

from dataclasses import dataclass

from .tunes import StyleName

# General MIDI percussion keys.
KICK, SIDE_STICK, SNARE, CLOSED_HAT, PEDAL_HAT, OPEN_HAT = 36, 37, 38, 42, 44, 46
LOW_TOM, MID_TOM, HIGH_TOM, CRASH, RIDE, TAMBOURINE, SHAKER = 45, 47, 50, 49, 51, 54, 70

Groove = tuple[tuple[int, str], ...]  # (percussion key, steps of one bar)


@dataclass(frozen=True)
class Style:
    """Patterns to choose from. With ``swing``, eighths of all parts become two thirds and one third."""

    grooves: tuple[Groove, ...]
    bass: tuple[str, ...]
    guitar: tuple[str, ...]
    piano: tuple[str, ...]
    strings: tuple[str, ...]
    fills: bool = True
    swing: bool = False


# The last two beats before a new section, in sixteenths: kick, snare, high, mid and low tom.
FILL_KEYS = {"k": KICK, "s": SNARE, "h": HIGH_TOM, "m": MID_TOM, "l": LOW_TOM}
FILLS = ("s.sshmll", "s.s.hhll", "ssshmmll", "k.s.s.ss", "..ssshml", "s..s..ll")

STYLES: dict[StyleName, Style] = {
    "folk": Style(
        grooves=(
            ((KICK, "X...x..."), (SIDE_STICK, "..x...x."), (SHAKER, "xoxoxoxo")),
            ((KICK, "X..xx..."), (TAMBOURINE, "..X...X."), (CLOSED_HAT, "x.x.x.x.")),
        ),
        bass=("R - 5 -", "R . 5 .", "R - - R 5 - 3 -"),
        guitar=("1 ^ 2 ^", "1 4 3 5 2 4 3 5", "1 - ^ ^ 2 - ^ ^"),
        piano=("* - - -", ". * . *", "L* - * -"),
        strings=("* - - -", "* - * -"),
    ),
    "march": Style(
        grooves=(
            ((KICK, "X...X..."), (SNARE, "x.ooX.oox.ooX.xx")),
            ((KICK, "X.x.X.x."), (SNARE, ".x.x.x.x"), (CLOSED_HAT, "x.x.x.x.")),
        ),
        bass=("R . 5 .", "R . 5 3", "R 5 R 5"),
        guitar=(". ^ . ^", ". v . v . v v v"),
        piano=("L . * . L . * .", "L * L *"),
        strings=("* - - -", "R* - * -"),
    ),
    "pop": Style(
        grooves=(
            ((KICK, "X...x.x."), (SNARE, "..X...X."), (CLOSED_HAT, "xoxoxoxo")),
            ((KICK, "X.....x.x.x....."), (SNARE, "....X.......X..o"), (CLOSED_HAT, "x.x.x.x.x.x.x...")),
            ((KICK, "X..x.x.."), (SNARE, "..X...X."), (RIDE, "x.x.x.x."), (OPEN_HAT, ".......x")),
        ),
        bass=("R - - R R - 5 -", "R R R R R R R R", "R - - 5 - - R -"),
        guitar=("v - v ^ - ^ v ^", "1 3 4 5 3 4 5 4", "v - - - ^ - v ^"),
        piano=("L* * * *", "L* - - * - - * -", "L1 2 3 2 1 2 3 2"),
        strings=("* - - -", "R* - - -"),
    ),
    "swing": Style(
        grooves=(
            ((RIDE, "X.xxX.xx"), (PEDAL_HAT, "..x...x."), (KICK, "o...o...")),
            ((CLOSED_HAT, "x.xxx.xx"), (SNARE, "..x...xo"), (KICK, "X...x...")),
        ),
        bass=("R 3 5 L", "R 5 3 L", "R - 5 L"),
        guitar=("v . v . v . v .", ". . ^ . . . ^ ."),
        piano=("L* - . * - - . .", ". . . * . . * .", "L . * . L . * *"),
        strings=("* - - -",),
        swing=True,
    ),
    "hymn": Style(
        grooves=(
            ((KICK, "x......."), (SIDE_STICK, "....o..."), (CLOSED_HAT, "x.o.x.o.")),
            ((KICK, "x...o..."), (RIDE, "x.o.x.o.")),
        ),
        bass=("R - - -", "R - 5 -"),
        guitar=("1 3 4 5 4 3 4 3", "1 2 3 4 5 4 3 2", "v - - -"),
        piano=("L* - * -", "L1 2 3 2 1 2 3 2", "L* - - -"),
        strings=("* - - -", "R* - * -"),
        fills=False,
    ),
}
