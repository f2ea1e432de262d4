"""The arguments of this API, read: what is asked of the music, and how its tokens are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

from typing_extensions import TypedDict

from data_prep.tokens.conditions import parse_key, parse_metre
from data_prep.tokens.vocabulary import Representation, TokenError
from museformer_plugin.family_temperatures import COLDEST, WARMEST, FamilyTemperatures, parse_temperatures
from museformer_plugin.piece_rules import TOKENS_TO_CLOSE
from museformer_plugin.sampling import SamplingOptions
from museformer_plugin.steering.asked import wishes_of
from museformer_plugin.steering.conditions import UNKNOWN
from museformer_plugin.steering.wishes import Wishes
from museformer_plugin.token_families import TokenFamilies

from .errors import RequestError

# How many tokens are written at most, where that is not said: room for more than songs have, as in generate.sh.
LONGEST = 20480  # of songs that may end anywhere
LONGEST_BAR = 640  # on average, of bars that were asked for
# Pitches of what is written into a song, as in generate.sh: they are to go with those that are there.
INTO_SONGS = "pitch=0.6"


class WritingOptions(TypedDict, total=False):
    """What every way of writing takes by name; all may be left out.

    ``form``: letters and lengths in bars of the sections, ``"i4A8A8B8A8o2"``; behind a blank may stand ``repeats``.
    ``repeats``: which bars repeat which earlier ones, or none, besides what ``form`` says, ``"9-12=1-4,16=new"``;
    ``"9-12=1-4:all"`` does so to the note, ``":melody+bass"`` in these tracks, ``":-piano"`` in all others.
    ``tracks``: which play, and which enter or leave at a bar, ``"melody,bass,9:+drums"`` or a list of such.
    ``tempo``: of the written bars, in quarter notes a minute.
    ``key``: of songs from scratch, ``"E minor"``.
    ``metre``: of the written bars, ``"3/4"``, for models of general tokens.
    ``density``: notes a bar, about.
    ``seed``: the same one gives the same song; without it another each time.
    ``topk``: draw among so many likeliest tokens, 0 among all.
    ``temperature``: above 1 is wilder, below 1 tamer.
    ``family_temperatures``: the same inside kinds of tokens, ``"pitch=0.7,duration=0.7"``; without it ``"pitch=0.6"``
    where bars are written into a song.
    ``guidance``: how far beyond what the model would write when told what is asked; 0 is faster, 1 overdoes it.
    ``repeat_temperature``: of bars that are told to repeat one, as ``form``, ``repeats`` and given tracks do, on top
    of ``temperature``.
    ``max_tokens``: of a song, what is given included; bars end early where they leave little room. Without it there is
    room for all that is asked for.
    ``progress``: show a progress bar on standard error.
    """

    form: str
    repeats: str
    tracks: str | Sequence[str]
    tempo: float
    key: str
    metre: str
    density: int
    seed: int
    topk: int
    temperature: float
    family_temperatures: str
    guidance: float
    repeat_temperature: float
    max_tokens: int
    progress: bool


@dataclass
class Asked:
    """What one call asks for, its types and ranges checked; the numbers and texts are those of the arguments."""

    bars: int = 0
    prompt_bars: int | None = None
    fill_bars: str = ""
    vary_bars: str = ""
    accompany: str = ""
    form: str = ""
    repeats: str = ""
    tracks: str = ""
    tempo: float = 0.0
    key: str = ""
    metre: str = ""
    density: int = UNKNOWN
    seed: int | None = None
    topk: int = 8
    temperature: float = 1.0
    family_temperatures: str | None = None
    guidance: float = 0.5
    repeat_temperature: float = 0.1
    max_tokens: int | None = None
    progress: bool = False

    @property
    def writes_into_song(self) -> bool:
        """Whether bars of a song are written anew, rather than bars behind one or a song from scratch."""
        return bool(self.fill_bars or self.vary_bars or self.accompany)

    def wishes(self, representation: Representation) -> Wishes:
        """In the words of the plugin. Raises UserError for what cannot be read, or contradicts another."""
        texts: Any = SimpleNamespace(**{**vars(self), "tempo": f"{self.tempo:g}" if self.tempo else ""})
        return replace(wishes_of(texts, representation), prompt_bars=self.prompt_bars)

    def longest(self, given: int, bars: int) -> int:
        """How many tokens a song may have of which so many are ``given``; ``bars``: to be written, 0 where open."""
        return self.max_tokens or given + max(LONGEST, LONGEST_BAR * bars)

    def semitones(self) -> int:
        """How far above C major, or A minor, ``key`` is."""
        return _read("key", parse_key, self.key).semitones if self.key else 0

    def sampling(self, families: TokenFamilies) -> SamplingOptions:
        """How tokens are drawn. Raises UserError for family temperatures that are none."""
        asked = self.family_temperatures
        temperatures = parse_temperatures((INTO_SONGS if self.writes_into_song else "") if asked is None else asked)
        reshape = FamilyTemperatures(families, temperatures) if temperatures else None
        return SamplingOptions(True, self.topk, 0, self.temperature, reshape, self.guidance, self.repeat_temperature)


def _read(name: str, parse: Any, text: str) -> Any:
    try:
        return parse(text)
    except TokenError as error:
        raise RequestError(f"{name}: {error}.") from None


# by name: the least number that makes sense
_WHOLE = {"bars": 1, "prompt_bars": 1, "density": 0, "seed": 0, "topk": 0, "max_tokens": TOKENS_TO_CLOSE}
_LARGEST_SEED = 2**63 - 1
_LISTS = ("tracks", "accompany")  # of names, as a text with commas or as a sequence
_RANGES = ("fill_bars", "vary_bars")


def asked_for(called: dict[str, str], **arguments: Any) -> Asked:
    """The arguments that are there (not None), checked. ``called``: what they are called, where not as in ``Asked``.

    Raises RequestError for a wrong type or a number out of range.
    """
    found = {}
    for name, value in arguments.items():
        if value is None:
            continue
        if name not in Asked.__dataclass_fields__:
            raise TypeError(f"there is no argument {name}=")
        found[name] = _checked(name, called.get(name, name), value)
    if "metre" in found:
        _read("metre", parse_metre, found["metre"])
    return Asked(**found)


def _checked(name: str, called: str, value: Any) -> Any:
    if name in _WHOLE:
        if not isinstance(value, int) or isinstance(value, bool) or value < _WHOLE[name]:
            raise RequestError(f"{called}= takes a whole number from {_WHOLE[name]} up, not {value!r}.")
        if name == "seed" and value > _LARGEST_SEED:
            raise RequestError(f"seed= takes a whole number up to {_LARGEST_SEED}, not {value}.")
        return value
    if name in ("tempo", "temperature", "guidance", "repeat_temperature"):
        or_zero = name == "guidance"
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not (0 < value < float("inf") or (or_zero and value == 0)):
            raise RequestError(f"{called}= takes a number {'from 0 up' if or_zero else 'above 0'}, not {value!r}.")
        if name == "repeat_temperature" and not COLDEST <= value <= WARMEST:
            raise RequestError(f"{called}= takes a number from {COLDEST} to {WARMEST}, not {value!r}.")
        return float(value)
    if name == "progress":
        return bool(value)
    if name in _LISTS and isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        value = ",".join(value)
    if name in _RANGES and isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise RequestError(f"{called}= takes text, not {value!r}.")
    if name != "family_temperatures" and not value.replace(",", "").strip():
        raise RequestError(f"{called}= is empty: leave it out, or say what it is to be.")
    return value
