"""The one table of tracks: what derives from it, and that a track more is a line more."""

import shutil
import subprocess
import sys

from data_prep.tokens.vocabulary import DRUMS, SIX_TRACK

LINE = '    TrackRole("bells", 14, takes=(9, 14)),\n'
BEHIND = '    TrackRole("drums", DRUMS),\n'
PROGRAM = """
import numpy as np
from data_prep.similarity.bars import TRACKS
from data_prep.tokens.encode import check_encodable, encode
from data_prep.tokens.grammar import check_piece
from data_prep.six_track.prepare_song import song_midi
from data_prep.six_track.roles import merge, role_of
from data_prep.tokens.song import Song
from data_prep.six_track.tracks import Track, features_of
from data_prep.tokens.vocabulary import SIX_TRACK
from evaluation.compare import table
from evaluation.grammar_errors import GrammarErrors
from evaluation.piano_roll import _COLOURS, _NAMES
from evaluation.similarity import tracks_of
from evaluation.token_kinds import TokenKinds

tracks = [Track(number, program, "", np.array([[0.0, 12, 60, 80], [12, 24, 64, 80]])) for number, program in
          enumerate((9, 0, 48), start=1)]
roles = {track.number: role_of(track, found) for track, found in zip(tracks, features_of(tracks))}
assert roles == {1: 14, 2: 0, 3: 48}, roles
song = Song(merge(tracks, roles, 0.0), [], [])
check_encodable(song, SIX_TRACK)
tokens = encode(song, SIX_TRACK)
check_piece(tokens, SIX_TRACK)
assert "i-14" in tokens and not len(GrammarErrors(SIX_TRACK).indices(tokens))
assert [track.name for track in song_midi(song).instruments] == ["bells", "piano", "strings"]
kinds = TokenKinds(SIX_TRACK)
assert {kinds.names["track"][place] for place in kinds.kinds(tokens, 99)["track"]} == \
    {"shared", "bells", "piano", "strings"}
assert tuple(TRACKS) == tracks_of(SIX_TRACK)
assert list(TRACKS) == ["melody", "all", "drums", "bells", "bass", "guitar", "piano", "strings"]
assert _NAMES[14] == "bells" and len(set(_COLOURS.values())) == 7
"""


def test_the_six_tracks():
    assert SIX_TRACK.track_names() == {
        80: "melody", DRUMS: "drums", 43: "bass", 25: "guitar", 0: "piano", 48: "strings",
    }  # fmt: skip
    assert SIX_TRACK.instruments == (80, DRUMS, 43, 25, 0, 48)  # the order of their tokens


def test_programs_join_one_track_each():
    taken = [program for track in SIX_TRACK.tracks for program in track.takes]
    assert len(taken) == len(set(taken))
    left = set(range(128)) - set(taken)
    assert left == {113, *range(115, 128)} | {*range(80, 88), *range(96, 104)}  # effects; synthesisers


def test_a_track_more_is_a_line_more(repository, tmp_path):
    for package in ("data_prep", "evaluation"):
        shutil.copytree(repository / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    (table,) = (path for path in (tmp_path / "data_prep").rglob("vocabulary.py"))
    text = table.read_text()
    assert text.count(BEHIND) == 1
    table.write_text(text.replace(BEHIND, BEHIND + LINE))
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
