"""The options of the task that say what is to be written, read."""

from __future__ import annotations

from typing import Protocol

from data_prep.form.sections import FormError, parse_form
from data_prep.tokens.encode import MAX_BARS
from data_prep.tokens.vocabulary import TEMPO_MAX_BPM, TEMPO_MIN_BPM, Representation, metre_id, tempo_id

from ..errors import UserError
from .bar_ranges import parse_ranges
from .conditions import UNKNOWN
from .track_plan import TrackPlan, parse_track
from .wishes import Wishes


class SteeringOptions(Protocol):
    """Of ``MuseformerTaskConfig``."""

    bars: int
    form: str
    tracks: str
    tempo: float
    metre: str
    density: int
    fill_bars: str
    vary_bars: str
    accompany: str


def wishes_of(options: SteeringOptions, representation: Representation, prompt_bars: int | None) -> Wishes:
    """What the options ask for. Raises UserError for what cannot be read, or contradicts another."""
    if not 0 <= options.bars <= MAX_BARS:
        raise UserError(f"--bars must be from 1 to {MAX_BARS}, not {options.bars}.")
    if options.density < UNKNOWN:
        raise UserError(f"--density is how many notes a bar is to have, 0 or more, not {options.density}.")
    try:
        sections = parse_form(options.form) if options.form else ()
    except FormError as error:
        raise UserError(f"--form: {error}.") from None
    tracks = [name for name in options.accompany.split(",") if name.strip()]
    given_tracks = frozenset(parse_track(name, representation, "--accompany") for name in tracks)
    if len(given_tracks) == len(representation.instruments):
        raise UserError("--accompany names all tracks: there is nothing to write.")
    return Wishes(
        bars=options.bars,
        sections=sections,
        tracks=TrackPlan.parse(options.tracks, representation) if options.tracks else None,
        tempo=_tempo(options.tempo),
        metre=_metre(options.metre, representation),
        notes=options.density,
        prompt_bars=prompt_bars,
        fill_bars=parse_ranges("--fill-bars", options.fill_bars),
        vary_bars=parse_ranges("--vary-bars", options.vary_bars),
        given_tracks=given_tracks,
    )


def _tempo(bpm: float) -> int | None:
    if not bpm:
        return None
    if not TEMPO_MIN_BPM <= bpm <= TEMPO_MAX_BPM:
        raise UserError(f"--tempo must be from {TEMPO_MIN_BPM} to {TEMPO_MAX_BPM} beats per minute, not {bpm:g}.")
    return tempo_id(bpm)


def _metre(text: str, representation: Representation) -> int | None:
    if not text:
        return None
    if not representation.has_metre:
        raise UserError(f"--metre: {representation.name} pieces are in 4/4; a model of general tokens knows others.")
    numerator, _, denominator = text.partition("/")
    try:
        return metre_id(int(numerator), int(denominator))
    except (KeyError, ValueError):
        raise UserError(f"--metre takes a metre such as 3/4 or 6/8, not {text!r}.") from None
