"""The options of the task that say what is to be written, read."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from data_prep.form.outlines import Outline, Repeat, outline_text, parse_outline, parse_repeats, read_outlines
from data_prep.form.sections import FormError, is_form
from data_prep.tokens.conditions import parse_metre, parse_tempo
from data_prep.tokens.encode import MAX_BARS
from data_prep.tokens.vocabulary import Representation, TokenError

from ..errors import UserError
from ..token_families import TokenFamilies
from .bar_ranges import parse_ranges
from .conditions import UNKNOWN
from .request import Request
from .track_plan import TrackPlan, parse_track, unchanged_ranks
from .wishes import Wishes

logger = logging.getLogger(__name__)


class SteeringOptions(Protocol):
    """Of ``MuseformerTaskConfig``."""

    prompt_bars: int | None
    bars: int
    form: str
    repeats: str
    tracks: str
    tempo: str
    metre: str
    density: int
    fill_bars: str
    vary_bars: str
    accompany: str
    seed: int


class Ask:
    """Makes requests of pieces that a generator reads, one after the other.

    Args:
        wishes: what is asked of each.
        families: of the dictionary.
        forms: of which each piece gets one, drawn among those that go with the piece and all else, as the log says; or
            none.
        seed: of the drawing.
    """

    def __init__(self, wishes: Wishes, families: TokenFamilies, forms: Sequence[Outline] = (), seed: int = 0) -> None:
        self.wishes, self.families, self.forms = wishes, families, forms
        self._chance = np.random.default_rng(seed)

    def __call__(self, piece: np.ndarray, prompt_length: int) -> Request:
        """Of a piece, int64 [n] without begin token, of which ``prompt_length`` tokens are to be continued.

        Raises UserError where the piece does not allow what is asked, in any of the forms.
        """
        tokens = piece if self.wishes.needs_piece else piece[:prompt_length]
        if not self.forms:
            return self.wishes.request_for(tokens, self.families)
        refusal = None
        for place in self._chance.permutation(len(self.forms)):
            form = self.forms[place]
            try:
                request = replace(self.wishes, form=form).request_for(tokens, self.families)
            except UserError as error:
                refusal = error
                continue
            logger.info("the form drawn for the next piece is %s", outline_text(form))
            return request
        raise UserError(f"No form of the list serves; of the last one tried: {refusal}")


def ask_of(options: SteeringOptions, families: TokenFamilies, *, steerable: bool, grammar: bool) -> Ask | None:
    """What the options ask of each piece, if anything, of a model that is ``steerable`` or not.

    ``grammar``: whether pieces keep to the grammar of tokens.

    Raises UserError where the model cannot be told it, and as ``wishes_of`` does.
    """
    forms = _listed_forms(options, families.representation)
    wishes = wishes_of(options, families.representation, forms[0] if forms else None)
    if not wishes.are_any:
        return None
    if wishes.need_steering and not steerable:
        raise UserError(
            "This model cannot be told of bars: it takes --tracks, --tempo and --metre alone. Train one with "
            f"--steerable and --task-shares, or take the weights in pretrained/{families.representation.name}."
        )
    if not grammar:
        raise UserError("--no-grammar does not go with what is asked of bars: requests are kept by the grammar.")
    return Ask(wishes, families, forms, options.seed) if forms else Ask(wishes, families)


def _listed_forms(options: SteeringOptions, representation: Representation) -> list[Outline]:
    """Those of the file that ``--form`` names, of as many bars as ``--bars`` asks for; none where it names no file.

    Raises UserError where the file lists none.
    """
    if is_form(options.form) or not _is_file(options.form):
        return []
    try:
        forms = read_outlines(Path(options.form))
    except (FormError, OSError) as error:
        raise UserError(f"--form: {error}.") from None
    try:
        _check_names([repeat for form in forms for repeat in form.repeats], representation)
    except FormError as error:
        raise UserError(f"--form: {options.form}: {error}.") from None
    found = [form for form in forms if options.bars in (0, form.num_bars)]
    if not found:
        raise UserError(f"--form: {options.form} lists no form of {options.bars} bars.")
    return found


def _check_names(repeats: Sequence[Repeat], representation: Representation) -> None:
    """Raises FormError where tracks are to stay to the note that the representation has not."""
    for text in dict.fromkeys(repeat.unchanged for repeat in repeats):
        unchanged_ranks(text, representation)


def _is_file(name: str) -> bool:
    try:
        return bool(name) and Path(name).is_file()
    except OSError:  # too long a name, for one
        return False


def wishes_of(options: SteeringOptions, representation: Representation, listed: Outline | None = None) -> Wishes:
    """What the options ask for; ``listed``: in place of their form, one of those that ``--form`` lists.

    Raises UserError for what cannot be read, or contradicts another.
    """
    if not 0 <= options.bars <= MAX_BARS:
        raise UserError(f"--bars must be from 1 to {MAX_BARS}, not {options.bars}.")
    if options.density < UNKNOWN:
        raise UserError(f"--density is how many notes a bar is to have, 0 or more, not {options.density}.")
    try:
        form = listed or (parse_outline(options.form) if options.form else Outline())
        _check_names(form.repeats, representation)
    except FormError as error:
        no_file = f"there is no file {options.form}, and " if re.search(r"[./\\]", options.form) else ""
        raise UserError(f"--form: {no_file}{error}.") from None
    try:
        repeats = parse_repeats(options.repeats) if options.repeats else ()
        _check_names(repeats, representation)
    except FormError as error:
        raise UserError(f"--repeats: {error}.") from None
    tracks = [name for name in options.accompany.split(",") if name.strip()]
    given_tracks = frozenset(parse_track(name, representation, "--accompany") for name in tracks)
    if len(given_tracks) == len(representation.instruments):
        raise UserError("--accompany names all tracks: there is nothing to write.")
    wishes = Wishes(
        bars=options.bars,
        form=form,
        repeats=repeats,
        tracks=TrackPlan.parse(options.tracks, representation) if options.tracks else None,
        tempo=_tempo(options.tempo),
        metre=_metre(options.metre, representation),
        notes=options.density,
        fill_bars=parse_ranges("--fill-bars", options.fill_bars),
        vary_bars=parse_ranges("--vary-bars", options.vary_bars),
        given_tracks=given_tracks,
    )
    if options.prompt_bars and wishes.needs_piece:
        raise UserError("--prompt-bars continues a piece; --fill-bars, --vary-bars and --accompany take it whole.")
    return wishes


def _tempo(text: str) -> int | None:
    try:
        return parse_tempo(text) if text else None
    except TokenError as error:
        raise UserError(f"--tempo: {error}.") from None


def _metre(text: str, representation: Representation) -> int | None:
    if not text:
        return None
    if not representation.has_metre:
        raise UserError(f"--metre: {representation.name} pieces are in 4/4; a model of general tokens knows others.")
    try:
        return parse_metre(text)
    except TokenError as error:
        raise UserError(f"--metre: {error}.") from None
