"""The command that lists the forms of songs, and the lists that it makes, read."""

import pytest

from data_prep.form.hear import heard_sections
from data_prep.form.sections import FormError, form_text, parse_form, read_forms
from data_prep.song_forms import main
from data_prep.tokens.encode import encode
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
    assert listed == [form_text(heard_sections(line.split())) for line in lines]
    for form, line in zip(listed, lines):
        assert sum(section.bars for section in parse_form(form)) == line.split().count("b-1")
    path = tmp_path / "forms.txt"
    path.write_bytes("\r\n".join(["\ufeff" + listed[0], *listed[1:], "", " A4 "]).encode())
    assert [*map(form_text, read_forms(path))] == [*listed, "A4"]


def test_long_pieces_are_left_out(tokens, capsys, caplog):
    bars = sorted(line.split().count("b-1") for line in tokens.read_text().splitlines())
    assert main([str(tokens), "--most-bars", str(bars[-1] - 1)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == sum(count < bars[-1] for count in bars) > 0
    assert main([str(tokens), "--most-bars", "2"]) == 1
    assert (capsys.readouterr().out, caplog.messages) == ("", ["No piece has from 1 to 2 bars."])


@pytest.mark.parametrize(
    ("text", "message"),
    [("A4\n\n4A\n", "forms.txt, line 3: this is no form"), ("\n", "forms.txt holds no form; write one a line")],
    ids=["no form", "nothing"],
)
def test_lists_that_cannot_be_read(tmp_path, text, message):
    path = tmp_path / "forms.txt"
    path.write_text(text)
    with pytest.raises(FormError, match=message):
        read_forms(path)
