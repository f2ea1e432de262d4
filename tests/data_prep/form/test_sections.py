import pytest

from data_prep.form.sections import SECTION_LETTERS, FormError, Section, bar_columns, form_text, parse_form


def test_text_to_sections_and_back():
    sections = parse_form("i4A8B16x1o2")
    assert sections == (
        Section("i", 0, 4),
        Section("A", 4, 8),
        Section("B", 12, 16),
        Section("x", 28, 1),
        Section("o", 29, 2),
    )
    for text in ("A1", "i4A8A8B8A8o2", "X12b4"):
        assert form_text(parse_form(text)) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the form is empty"),
        ("A", "at place 1 stands 'A'"),
        ("A8 B8", "at place 3 stands ' B8'"),
        ("8A", "at place 1 stands '8A'"),
        ("A8B-3", "at place 3 stands 'B-3'"),
        ("A8é4", "at place 3"),
        ("A٣", "at place 1"),  # a digit, but not one of ours
        ("i4A0", "section 2, A0, has no bars"),
        ("A8" * 3000, "more than 20000 bars"),
        ("A" + "9" * 9999, "more than 20000 bars"),
    ],
)
def test_bad_text_is_told_in_a_sentence(text, said):
    with pytest.raises(FormError, match=said) as error:
        parse_form(text)
    assert len(str(error.value)) < 200


def test_where_bars_stand():
    columns = bar_columns(parse_form("i1B3"))
    i, b = SECTION_LETTERS.index("i"), SECTION_LETTERS.index("B")
    assert columns.tolist() == [[i, 0, 0, 3], [b, 0, 2, 2], [b, 1, 1, 1], [b, 2, 0, 0]]
    assert bar_columns(()).shape == (0, 4)
