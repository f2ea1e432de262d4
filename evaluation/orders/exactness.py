"""Whether what is guaranteed holds: what is given comes back, and masks hold, in random requests of every kind.

Of every request are checked, by the tokens of what was written alone: it keeps to the grammar; it has as many bars as
asked for, or as the song; bars that are given, and notes of given tracks, are those of the song to the token, to the
last column of their notes; in each written bar no other tracks play than asked for; tracks that are to stay have the
notes of the bar that it repeats; its tempo is the one asked for, or, in a song, one that the bar had, or, where bars
are filled in, a bar beside them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data_prep.tokens.coded_notes import BAR, INSTRUMENT
from data_prep.tokens.vocabulary import LETTERS
from museformer_plugin.steering.form_columns import bars_without_melody
from museformer_plugin.steering.track_plan import unchanged_ranks
from museformer_plugin.steering.wishes import Wishes
from museformer_plugin.token_families import TokenFamilies

from .pieces import Piece
from .random_requests import Case, RandomRequests, bars_asked, written_bars
from .tables import markdown
from .writer import Writer

_TEMPO, _INSTRUMENT = (LETTERS.index(letter) for letter in "ti")


def faults_of(case: Case, piece: Piece, families: TokenFamilies) -> list[str]:
    """What of a request does not hold in what was written, a sentence each."""
    expected = bars_asked(case)
    found = [] if families.is_piece(piece.tokens) else ["it breaks the grammar"]
    if len(piece) != expected:
        return [*found, f"it has {len(piece)} bars in place of {expected}"]
    written = written_bars(case)
    for number in range(1, expected + 1):
        bar = piece.bars[number - 1]
        if number in written:
            found += [f"bar {number}: {fault}" for fault in _faults_of_bar(case, number, bar, piece, families)]
        elif not np.array_equal(bar, case.song.bars[number - 1]):
            found.append(f"bar {number} is not as it was given")
    return found


def _faults_of_bar(case: Case, number: int, bar: np.ndarray, piece: Piece, families: TokenFamilies) -> list[str]:
    found, wishes = [], case.wishes
    instruments = _values(bar, _INSTRUMENT, families)
    if wishes.tracks is not None and instruments - wishes.tracks.playing(number) - wishes.given_tracks:
        found.append("tracks play that were not asked for")
    tempos = {wishes.tempo} if wishes.tempo is not None else _tempos_near(number, case.song, wishes, families)
    if tempos and _values(bar, _TEMPO, families) - tempos:
        found.append("its tempo is another")
    if wishes.given_tracks:
        given = [families.representation.instruments[rank] for rank in wishes.given_tracks]
        if _notes_of(piece, number, given) != _notes_of(case.song, number, given):
            found.append("the notes of given tracks are not as they were given")
    repeat = next((repeat for repeat in wishes.repeats if repeat.bar + 1 == number), None)
    if repeat is not None:
        stay = _staying(wishes, number, unchanged_ranks(repeat.unchanged, families.representation), families)
        instruments = {families.representation.instruments[rank] for rank in stay}
        if _notes_of(piece, number, [*instruments]) != _notes_of(piece, repeat.repeated + 1, [*instruments]):
            found.append("tracks that were to stay have other notes than the bar that it repeats")
    return found


def _staying(wishes: Wishes, number: int, unchanged: frozenset[int], families: TokenFamilies) -> frozenset[int]:
    """Of the instruments, as ranks, that are to stay in a bar those that are not given and may play in it."""
    playing = unchanged if wishes.tracks is None else unchanged & wishes.tracks.playing(number)
    silent = families.melody_ranks if number in bars_without_melody(wishes.sections) else frozenset()
    return playing - wishes.given_tracks - silent


def _tempos_near(number: int, song: Piece, wishes: Wishes, families: TokenFamilies) -> set[int]:
    """Those of the song's bar, or of the bars beside the range that is filled in; none where any may be."""
    if not wishes.needs_piece:
        return set()
    near = [number]
    if wishes.fill_bars:
        first, last = next(span for span in wishes.fill_bars if span[0] <= number <= span[1])
        near = [first - 1, last + 1]
    beside = [song.bars[bar - 1] for bar in near if 1 <= bar <= len(song)]
    return set().union(*(_values(bar, _TEMPO, families) for bar in beside))


def _values(bar: np.ndarray, family: int, families: TokenFamilies) -> set[int]:
    return set(families.value_of_token[bar[families.family_of_token[bar] == family]].tolist())


def _notes_of(piece: Piece, number: int, instruments: Sequence[int]) -> list[list[int]]:
    """Without their bar, and sorted, so that notes that come twice count twice."""
    notes = piece.notes
    return sorted(notes[(notes[:, BAR] == number - 1) & np.isin(notes[:, INSTRUMENT], instruments), 1:].tolist())


def report(writer: Writer, songs: Sequence[Piece], count: int, seed: int) -> str:
    """The table of ``count`` requests of each kind, and the first faults in words."""
    draw = RandomRequests(list(songs), writer.families, np.random.default_rng(seed))
    rows, told, total = [], [], np.zeros(4, dtype=np.int64)
    for kind, case_of_kind in draw.kinds.items():
        cases = [case_of_kind() for _ in range(count)]
        pieces = writer.write([case.wishes.request_for(case.song.tokens, writer.families) for case in cases])
        faults = [faults_of(case, piece, writer.families) for case, piece in zip(cases, pieces)]
        told += [f"{kind} {n}: {fault}" for n, found in enumerate(faults) for fault in found]
        written = sum(len(written_bars(case)) for case in cases)
        bars = sum(map(len, pieces))
        numbers = np.array([count, bars, written, sum(map(len, faults))])
        total += numbers
        rows.append([kind, *map(str, numbers.tolist())])
    rows.append(["all", *map(str, total.tolist())])
    table = markdown(["kind", "requests", "bars", "of them written", "faults"], rows)
    return "\n\n".join([table, *(["\n".join(f"- {fault}" for fault in told[:20])] if told else [])])
