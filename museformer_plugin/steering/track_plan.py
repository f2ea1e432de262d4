"""Which tracks play from which bar on, as people write it: ``melody,bass,9:+drums,25:-bass``, and the
instruments that names of tracks mean."""

from __future__ import annotations

import re
from dataclasses import dataclass

from data_prep.form.unchanged import parse_unchanged
from data_prep.tokens.vocabulary import DRUMS, Representation

from ..errors import UserError

_ITEM = re.compile(r"(?:([0-9]{1,6}):)?([+-]?)([a-z0-9_ ]+)", re.IGNORECASE)


@dataclass(frozen=True)
class TrackPlan:
    """``changes``: from each bar on, counted from 1 and rising, the instruments that play, as ranks; bar 1 is there.
    ``named``: those that are named to play from the beginning, in the order of the text.
    """

    changes: tuple[tuple[int, frozenset[int]], ...]
    named: tuple[int, ...] = ()

    @property
    def last_change(self) -> int:
        """The bar from which on nothing changes any more."""
        return self.changes[-1][0]

    def playing(self, bar: int) -> frozenset[int]:
        """The instruments that play in a bar."""
        return [instruments for first, instruments in self.changes if first <= bar][-1]

    def entering(self, bar: int) -> frozenset[int]:
        """Those that play from this bar on and did not in the bar before."""
        return self.playing(bar) - self.playing(bar - 1) if bar > 1 else frozenset()

    @staticmethod
    def parse(text: str, representation: Representation, option: str = "--tracks") -> TrackPlan:
        """Names of tracks are those of the representation; without tracks of its own instruments are General MIDI
        programs, 0 to 127, and ``drums``. What is named without a bar plays from the beginning; without such a name
        everything does but what enters before it leaves.

        Raises UserError for what is none.
        """
        everything = frozenset(range(len(representation.instruments)))
        first: list[int] = []
        later: list[tuple[int, str, int]] = []
        for part in filter(None, (piece.strip() for piece in text.split(","))):
            match = _ITEM.fullmatch(part)
            if match is None or bool(match[1]) != bool(match[2]):
                raise UserError(
                    f"{option} takes tracks, and from a bar on what enters or leaves, as in melody,bass,9:+drums; "
                    f"not {part!r}."
                )
            instrument = parse_track(match[3], representation, option)
            if not match[1]:
                first.append(instrument)
            elif int(match[1]) < 1:
                raise UserError(f"{option}: bars are counted from 1, there is no bar {int(match[1])}.")
            else:
                later.append((int(match[1]), match[2], instrument))
        later.sort(key=lambda change: change[0])
        signs = {instrument: sign for _, sign, instrument in reversed(later)}  # of what each does first
        playing = frozenset(first) or everything - {instrument for instrument, sign in signs.items() if sign == "+"}
        if not first and not later:
            raise UserError(f"{option} names no track; leave it out to let all play.")
        changes = {1: playing}
        for bar, sign, instrument in later:
            if (sign == "+") == (instrument in playing):
                name = _name_of(instrument, representation)
                raise UserError(f"{option}: {name} {'plays already' if sign == '+' else 'does not play'} at bar {bar}.")
            playing = playing | {instrument} if sign == "+" else playing - {instrument}
            changes[bar] = playing
        return TrackPlan(tuple(sorted(changes.items())), tuple(dict.fromkeys(first)))


def parse_track(name: str, representation: Representation, option: str) -> int:
    """The rank of an instrument by name. Raises UserError, which lists the names, for another."""
    names = representation.track_names()
    by_name = {track: instrument for instrument, track in names.items()}
    instrument = by_name.get(name.strip().lower())
    if not names:
        number = name.strip().lower()
        program = int(number) if number.isdecimal() else DRUMS
        instrument = DRUMS if number == "drums" else program if program < DRUMS else None
    if instrument not in representation.instruments:
        known = ", ".join(by_name) if names else "General MIDI programs, 0 to 127, and drums"
        raise UserError(f"{option}: there is no track {name.strip()!r}; there are {known}.")
    return representation.instruments.index(instrument)


def unchanged_ranks(text: str, representation: Representation) -> frozenset[int]:
    """The instruments, as ranks, that a text as ``data_prep.form.unchanged`` has it keeps to the note; none of nothing.

    Raises FormError for what is none.
    """
    names = [representation.name_of(instrument) for instrument in representation.instruments]
    return parse_unchanged(text, names) if text else frozenset()


def _name_of(rank: int, representation: Representation) -> str:
    name = representation.name_of(representation.instruments[rank])
    return f"program {name}" if name.isdecimal() else name
