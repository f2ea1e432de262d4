"""Forms with what their letters do not say, as text and back."""

import numpy as np
import pytest

from data_prep.form.outlines import (
    Outline,
    Repeat,
    outline_of,
    outline_text,
    parse_outline,
    parse_repeats,
    read_outlines,
    repeats_by_letter,
)
from data_prep.form.repeats import NEW
from data_prep.form.sections import FormError, parse_form


def test_sections_of_a_letter_repeat_the_latest_before_but_for_passing_ones():
    assert repeats_by_letter(parse_form("A1B1A1A1")).tolist() == [NEW, NEW, 0, 2]
    assert repeats_by_letter(parse_form("i1A3B1A4i1")).tolist() == [NEW, NEW, NEW, NEW, NEW, 1, 2, 3, NEW, 0]
    assert repeats_by_letter(parse_form("x2A1x2X1A1X1")).tolist() == [NEW] * 6 + [2, NEW]
    assert repeats_by_letter(()).shape == (0,)


@pytest.mark.parametrize(
    ("text", "repeats"),
    [
        ("A4B4", {}),
        ("A4B4 3=1", {2: 0}),
        ("A4B4A4 3-4=1-2,12=new", {2: 0, 3: 1, 11: NEW}),
        ("A4 2-4=1-3", {1: 0, 2: 1, 3: 2}),
        ("A8A8 9-10=new,11-12=1-2,13=2,14-15=2-3", {8: NEW, 9: NEW, 10: 0, 11: 1, 12: 1, 13: 1, 14: 2}),
    ],
)
def test_text_to_outline_and_back(text, repeats):
    outline = parse_outline(text)
    assert outline == Outline(parse_form(text.split()[0]), tuple(Repeat(*said) for said in repeats.items()))
    assert outline_text(outline) == text


def test_what_stays_to_the_note_is_text_too():
    text = "A4B4A4 6-7=1-2:melody+bass,8=3:melody+bass,9=1,10-11=2-3:-drums,12=4:all"
    outline = parse_outline(text)
    assert outline.repeats[:3] == (
        Repeat(5, 0, "melody+bass"),
        Repeat(6, 1, "melody+bass"),
        Repeat(7, 2, "melody+bass"),
    )
    assert outline.repeats[3:] == (Repeat(8, 0), Repeat(9, 1, "-drums"), Repeat(10, 2, "-drums"), Repeat(11, 3, "all"))
    assert outline_text(outline) == text.replace("6-7=1-2:melody+bass,8=3:melody+bass", "6-8=1-3:melody+bass")
    assert parse_repeats(" 3 = 1 : melody + bass ") == (Repeat(2, 0, "melody + bass"),)


def test_blanks_and_order_do_not_matter():
    assert parse_repeats(" 3-4 = 1-2 , , 2=1") == (Repeat(1, 0), Repeat(2, 0), Repeat(3, 1))
    assert parse_repeats("20000=1") == (Repeat(19999, 0),)
    assert parse_outline(" A4\t4=1 ") == parse_outline("A4 4=1")


@pytest.mark.parametrize("seed", range(5))
def test_any_repeats_are_kept(seed):
    chance = np.random.default_rng(seed)
    sections = parse_form("i2A4A4B4A4x1o2")
    repeats = np.array([chance.integers(NEW, bar) for bar in range(21)])
    repeats[5:9] = repeats_by_letter(sections)[5:9]  # as the letters say
    unchanged = chance.choice(["all", "none", "melody+bass", "-strings", ""], 21).tolist()
    unchanged[5:9] = [""] * 4
    outline = outline_of(sections, repeats, unchanged)
    assert not {5, 6, 7, 8} & {repeat.bar for repeat in outline.repeats}
    assert parse_outline(outline_text(outline)) == outline
    bars = outline.of_all_bars()
    assert [repeat.bar for repeat in bars] == [*range(21)]
    assert [repeat.repeated for repeat in bars] == repeats.tolist()
    assert [repeat.unchanged for repeat in bars] == [
        "" if repeated == NEW else said for repeated, said in zip(repeats, unchanged)
    ]


def test_sections_and_repeats_are_of_the_same_bars():
    for bars, texts in ((5, 5), (3, 3), (4, 3)):
        with pytest.raises(ValueError, match="zip"):
            outline_of(parse_form("A4"), np.full(bars, NEW), [""] * texts)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no bar is said to repeat another"),
        (" , ", "no bar is said to repeat another"),
        ("3", "'3' does not say which bars repeat which; write it as 9-12=1-4, 9-12=1-4:melody+bass, or 16=new"),
        ("3=", "'3=' does not say which bars repeat which"),
        ("=1", "'=1' does not say"),
        ("=new", "'=new' does not say"),
        ("A4 " * 500, "does not say which bars repeat which; write it as"),
        ("1" * 500 + "=new", "does not say which bars repeat which; write it as"),
        ("3=1=2", "'1=2' is neither a bar nor a range"),
        (
            "3=old",
            "'3=old' does not say which bars repeat which: 'old' is neither a bar nor a range of bars; write",
        ),
        ("3 - 4=1-2", "'3 - 4' is neither a bar nor a range"),
        ("20000-20001=1-2", "names bars behind bar 20000"),
        ("0=new", "there is no bar 0"),
        ("4-3=1-2", "the range 4-3 ends before it begins"),
        ("5-8=1-3", "names more bars on one side than on the other"),
        ("3-4=1", "names more bars on one side than on the other"),
        ("3=3", "lets bar 3 repeat itself or a later bar"),
        ("3=9", "lets bar 3 repeat itself or a later bar"),
        ("5=1,4-6=1-3", "bar 5 is said twice to repeat a bar, or none"),
        ("999999=1", "names bars behind bar 20000"),
        ("3=1:", "'' does not say which tracks stay to the note; write all, none, those that stay as melody+bass"),
        ("3=1:melody+", "'melody+' does not say which tracks stay"),
        ("3=1:melody-bass", "'melody-bass' does not say which tracks stay"),
        ("3=1:" + "+" * 500, "does not say which tracks stay"),
        ("3=new:all", "bar 3 is new, so that no track of it can stay or change"),
    ],
)
def test_bad_repeats_are_told_in_a_sentence(text, said):
    with pytest.raises(FormError) as raised:
        parse_repeats(text)
    assert said in str(raised.value)
    assert len(str(raised.value)) < 200


def test_bars_behind_the_form_repeat_nothing():
    with pytest.raises(FormError, match="^what is to repeat names bar 9, and the form has 8 bars$"):
        parse_outline("A8 8-9=1-2")


@pytest.mark.parametrize("text", ["", " ", "\t"])
def test_nothing_is_no_outline(text):
    with pytest.raises(FormError, match="the form is empty"):
        parse_outline(text)


def test_a_list_of_outlines(tmp_path):
    path = tmp_path / "forms.txt"
    path.write_bytes("\ufeffA4 3=1\r\n\r\n i2A2  \r\n".encode())
    assert [*map(outline_text, read_outlines(path))] == ["A4 3=1", "i2A2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A4\n\n4A\n", "forms.txt, line 3: this is no form"),
        ("A4 B4\n", "forms.txt, line 1: 'B4' does not say which bars repeat which"),
        ("\n", "forms.txt holds no form; write one a line"),
    ],
    ids=["no form", "no repeats", "nothing"],
)
def test_lists_that_cannot_be_read(tmp_path, text, message):
    path = tmp_path / "forms.txt"
    path.write_text(text)
    with pytest.raises(FormError, match=message):
        read_outlines(path)
