"""Which instrument of the representation each track of a source song plays, and what is said of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from miditoolkit import MidiFile

from data_prep.six_track.melody import find_melody
from data_prep.six_track.roles import assign_roles
from data_prep.six_track.tracks import Track, features_of, read_tracks
from data_prep.tokens.song import SongError
from data_prep.tokens.vocabulary import DRUMS, SIX_TRACK, Representation

MELODY = SIX_TRACK.instrument_of("melody")


@dataclass(frozen=True)
class Roles:
    """What each track plays: ``instruments`` by the track's number (from 1), None where it is left out.

    ``mapped`` says whether the preparation's mapping decided; else each track plays its own program, or the drums.
    ``melody``: numbers of the tracks that carry the melody, where one is known.
    """

    instruments: dict[int, int | None]
    mapped: bool
    melody: tuple[int, ...]
    sentences: tuple[str, ...] = ()


def find_roles(
    midi: MidiFile, representation: Representation, needs_melody: bool = False, melody_track: int | None = None
) -> Roles:
    """The roles of the tracks of ``midi``.

    In ``six_track`` a song that uses none but its instruments is taken as it is, unless it has to have a melody and has
    none by its programs. ``melody_track`` names the track that carries the melody (a number from 1); without it the
    preparation's rules find one. Raises SongError when a melody is needed and there is none, when ``melody_track`` is
    no track that could carry it, and when no track has a role.
    """
    tracks, _ = read_tracks(midi)
    played = {track.number: track.instrument for track in tracks}
    if melody_track is not None:
        _check_melody_track(tracks, melody_track)
    if representation is SIX_TRACK and melody_track is None and set(played.values()) <= set(SIX_TRACK.instruments):
        melody = tuple(number for number, instrument in played.items() if instrument == MELODY)
        if melody or not needs_melody:
            return Roles(dict(played), False, melody)
    features = features_of(tracks)
    if melody_track is not None:
        melody = (melody_track,)
    else:
        melody = tuple(track.number for track in find_melody(tracks, features, use_names=True).tracks)
    if needs_melody and not melody:
        raise SongError(
            "no melody: no track can be told from an accompaniment (it takes 24 notes, mostly one at a time); "
            "put it on a track of its own, or give other tracks than the melody"
        )
    if representation is not SIX_TRACK:
        return Roles(dict(played), False, melody)
    instruments = assign_roles(tracks, features, [track for track in tracks if track.number in melody])
    if all(instrument is None for instrument in instruments.values()):
        raise SongError("no notes for the six tracks: nothing but percussion and effects with a pitch")
    return Roles(instruments, True, melody, tuple(_sentences(tracks, instruments)))


def _check_melody_track(tracks: Sequence[Track], number: int) -> None:
    chosen = next((track for track in tracks if track.number == number), None)
    if chosen is None:
        numbers = ", ".join(str(track.number) for track in tracks)
        raise SongError(f"no track {number}: the song has tracks {numbers}; name one of these as the melody")
    if chosen.is_drums:
        raise SongError(f"no melody: track {number} plays drums; name another track as the melody")


def _sentences(tracks: Sequence[Track], instruments: dict[int, int | None]) -> list[str]:
    """What is told of a mapping: who plays each of the six tracks, and who plays none."""
    parts = []
    for role in SIX_TRACK.tracks:
        players = [track for track in tracks if instruments[track.number] == role.instrument]
        if players:
            parts.append(f"{role.name}: {_listed(players)}")
    missing = [role.name for role in SIX_TRACK.tracks if role.instrument not in instruments.values()]
    left_out = [track for track in tracks if instruments[track.number] is None]
    sentences = ["Taken as " + "; ".join(parts) + "."]
    if missing:
        sentences.append(f"Nobody plays {', '.join(missing)}.")
    if left_out:
        sentences.append(f"Left out, since the six tracks have no place for it: {_listed(left_out)}.")
    return sentences


def _listed(tracks: Collection[Track]) -> str:
    return ", ".join(
        f"track {track.number}{f' {track.name!r}' if track.name else ''}"
        f" ({'drums' if track.instrument == DRUMS else f'program {track.instrument}'})"
        for track in tracks
    )
