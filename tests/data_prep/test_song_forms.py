"""The command that lists the forms of songs."""

import pytest

from data_prep.form.hear import hear_tokens
from data_prep.form.outlines import parse_outline, read_outlines
from data_prep.form.unchanged import parse_unchanged, unchanged_tracks
from data_prep.song_forms import main
from data_prep.tokens.encode import encode
from data_prep.tokens.grammar import coded_tokens
from data_prep.tokens.song import song_of
from data_prep.tokens.vocabulary import SIX_TRACK
from examples.make_songs import compose_song, to_midi


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    """A token file of three songs."""
    path = tmp_path_factory.mktemp("forms") / "train.tokens"
    lines = [" ".join(encode(song_of(to_midi(compose_song(n, seed=1))), SIX_TRACK)) for n in (1, 2, 3)]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_forms_that_are_listed_are_those_that_are_heard(tokens, tmp_path, capsys):
    assert main([str(tokens)]) == 0
    listed = capsys.readouterr().out.splitlines()
    lines = tokens.read_text().splitlines()
    path = tmp_path / "forms.txt"
    path.write_text("\n".join(listed))
    for outline, line in zip(read_outlines(path), lines, strict=True):
        coded = coded_tokens(line.split(), SIX_TRACK)
        notes, heard = hear_tokens(coded[:, 0], coded[:, 1], SIX_TRACK)
        assert outline.sections == heard.sections
        assert outline.num_bars == line.split().count("b-1")
        bars = outline.of_all_bars()
        assert [repeat.repeated for repeat in bars] == heard.repeats.tolist()
        unchanged = unchanged_tracks(notes, heard.repeats, SIX_TRACK.instruments)
        names = [SIX_TRACK.name_of(instrument) for instrument in SIX_TRACK.instruments]
        for repeat, tracks in zip(bars, unchanged):
            said = parse_unchanged(repeat.unchanged, names) if repeat.unchanged else frozenset()
            assert said == {*tracks.nonzero()[0].tolist()}
            assert bool(repeat.unchanged) == (repeat.repeated >= 0)
    assert any(":-" in line for line in listed) and any(":all" in line for line in listed)


def test_nothing_is_said_of_tracks_where_any_will_do(tokens, capsys):
    assert main([str(tokens)]) == 0
    of_tracks = capsys.readouterr().out
    assert main([str(tokens), "--any-tracks"]) == 0
    of_any = capsys.readouterr().out
    assert ":" in of_tracks and ":" not in of_any

    def told(listed):
        outlines = [parse_outline(line) for line in listed.splitlines()]
        return [[repeat.repeated for repeat in outline.of_all_bars()] for outline in outlines]

    assert told(of_any) == told(of_tracks)


def test_long_pieces_are_left_out(tokens, capsys, caplog):
    bars = sorted(line.split().count("b-1") for line in tokens.read_text().splitlines())
    assert main([str(tokens), "--most-bars", str(bars[-1] - 1)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == sum(count < bars[-1] for count in bars) > 0
    assert main([str(tokens), "--most-bars", "2"]) == 1
    assert (capsys.readouterr().out, caplog.messages) == ("", ["No piece has from 1 to 2 bars."])
