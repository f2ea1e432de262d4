import pytest

from data_prep.tokens.conditions import Key, parse_key, parse_metre, parse_tempo
from data_prep.tokens.vocabulary import METRES, TokenError, tempo_id

NAMES = ["C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"]


@pytest.mark.parametrize(("pitch_class", "name"), list(enumerate(NAMES)))
def test_every_key_is_reached_from_c_major_or_a_minor(pitch_class, name):
    for text, mode, tonic in ((f"{name} major", "major", 0), (f"{name} minor", "minor", 9)):
        key = parse_key(text)
        assert key.mode == mode and -5 <= key.semitones <= 6
        assert (tonic + key.semitones) % 12 == pitch_class


@pytest.mark.parametrize(
    ("text", "semitones", "mode"),
    [
        ("E minor", -5, "minor"),
        ("em", -5, "minor"),
        ("e MINOR", -5, "minor"),
        (" E-min ", -5, "minor"),
        ("Bb", -2, "major"),
        ("bb", -2, "major"),
        ("B", -1, "major"),
        ("b", -1, "major"),
        ("bm", 2, "minor"),
        ("bbm", 1, "minor"),
        ("CM", 0, "major"),
        ("Cm", 3, "minor"),
        ("F♯ maj", 6, "major"),
        ("G♭", 6, "major"),
        ("Cb", -1, "major"),
        ("E# minor", -4, "minor"),
        ("Am", 0, "minor"),
    ],
)
def test_spellings_of_keys(text, semitones, mode):
    assert parse_key(text) == Key(semitones, mode)


@pytest.mark.parametrize("text", ["", "H", "minor", "C dur", "C##", "E minor 7", "C\nminor x", "1", "Em major"])
def test_what_is_no_key(text):
    with pytest.raises(TokenError, match="is not a key; write one as E minor"):
        parse_key(text)


@pytest.mark.parametrize(("text", "bpm"), [("96", 96), ("92.5", 92.5), ("120 BPM", 120), ("16", 16), ("256bpm", 256)])
def test_tempos(text, bpm):
    assert parse_tempo(text) == tempo_id(bpm)


@pytest.mark.parametrize("text", ["", "fast", "-96", "nan", "1e2", "9" * 400, "٩٦", "96/4"])
def test_what_is_no_tempo(text):
    with pytest.raises(TokenError, match="is not a tempo; write the quarter notes a minute"):
        parse_tempo(text)


@pytest.mark.parametrize("text", ["15.9", "257", "0", "9999"])
def test_tempos_without_a_token(text):
    with pytest.raises(TokenError, match="16 to 256 are"):
        parse_tempo(text)


@pytest.mark.parametrize(
    ("text", "metre"), [("4/4", (4, 4)), ("3/4", (3, 4)), (" 6 / 8 ", (6, 8)), ("128/64", (128, 64))]
)
def test_metres(text, metre):
    assert METRES[parse_metre(text)] == metre


@pytest.mark.parametrize("text", ["", "3", "3:4", "waltz", "-3/4", "3/4/4", "3.5/4"])
def test_what_is_no_metre(text):
    with pytest.raises(TokenError, match="is not a metre; write it as 3/4"):
        parse_metre(text)


@pytest.mark.parametrize("text", ["0/4", "4/0", "4/3", "9/4", "1/64", "129/64", "4/128"])
def test_metres_without_a_token(text):
    with pytest.raises(TokenError, match="is not a metre that songs have"):
        parse_metre(text)
