import pytest

from data_prep.command import CommandError
from data_prep.prompt import first_bars
from data_prep.tokens.vocabulary import GENERAL, SIX_TRACK
from evaluation.generated import find_examples, read_generated

BARS = [f"t-30 o-0 i-80 p-{pitch} d-6 v-20 b-1" for pitch in (60, 62, 64, 65, 67)]
EXAMPLE = " ".join(BARS[:4])
CONTINUED = " ".join([BARS[0], BARS[1], BARS[4]])


def read(folder, text, name="generated.txt", **options):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return read_generated(folder, SIX_TRACK, **options)


def test_interactive_prints_its_prompt(tmp_path):
    prompt = " ".join(BARS[:2])
    text = f"S-0\t\nW-0\t1\tseconds\nH-0\t-1.5\t{CONTINUED}\nD-0\t-1.5\tnot read\n"
    text += f"S-1\t{prompt}\nH-1\t-1.5\t{CONTINUED}\n"
    scratch, continued = read(tmp_path, text)
    assert (scratch.name, scratch.given, scratch.own_bars) == ("generated_0", 0, CONTINUED)
    assert (continued.name, continued.prompt, continued.prompt_bars) == ("generated_1", prompt, 2)
    assert continued.continuation == continued.own_bars == BARS[4]
    assert (scratch.first_own_bar, continued.first_own_bar) == (0, 2)


def test_fairseq_generate_prints_the_example_and_the_caller_knows_the_prompt(tmp_path):
    text = "".join(
        f"S-{n}\t{EXAMPLE}\nT-{n}\t{EXAMPLE}\nH-{n}\t-1\t{CONTINUED}\nH-{n}\t-1\t{EXAMPLE}\n" for n in (1, 0)
    )
    pieces = read(tmp_path, text, "generate-test.txt", prompt_bars=2)
    assert [piece.name for piece in pieces] == [f"generate-test_{n}" for n in ("1_1", "1_2", "0_1", "0_2")]
    assert all(piece.prompt_bars == 2 for piece in pieces)
    assert {piece.real_continuation for piece in pieces} == {" ".join(BARS[2:4])}
    assert [piece.continuation for piece in pieces[:2]] == [BARS[4], " ".join(BARS[2:4])]
    scratch = read(tmp_path, text, "generate-test.txt")
    assert all(piece.given == 0 and piece.real_continuation is None for piece in scratch)


def test_a_token_file_continues_as_many_bars_as_the_caller_says(tmp_path):
    (piece,) = read(tmp_path, CONTINUED, "piece.tokens", prompt_bars=1)
    assert (piece.name, piece.given, piece.example) == ("piece", 7, None)


def test_a_prompt_inside_a_bar_leaves_the_bar_to_nobody(tmp_path):
    prompt = " ".join(BARS[:2]).rpartition(" p-")[0]
    (piece,) = read(tmp_path, f"S-0\t{prompt}\nH-0\t-1\t{CONTINUED}\n")
    assert piece.continuation == "p-62 d-6 v-20 b-1 " + BARS[4]
    assert piece.own_bars == BARS[4]
    assert (piece.prompt_bars, piece.first_own_bar) == (1, 2)


def test_examples_are_found_among_the_test_pieces(tmp_path):
    text = "".join(f"S-{n}\t{prompt}\nH-{n}\t-1\t{CONTINUED}\n" for n, prompt in enumerate(["", BARS[0], CONTINUED]))
    pieces = find_examples(read(tmp_path, text), [BARS[1], EXAMPLE, " ".join([BARS[0], BARS[4]])])
    assert [piece.example for piece in pieces] == [None, EXAMPLE, None]
    assert pieces[1].real_continuation == " ".join(BARS[1:4])


def test_the_wrong_number_of_bars_is_told(tmp_path):
    text = f"S-0\t{EXAMPLE}\nT-0\t{EXAMPLE}\nH-0\t-1\t{CONTINUED}\n"
    with pytest.raises(CommandError, match=r"line 3: the piece does not begin with the 3 bars .*PROMPT_BARS"):
        read(tmp_path, text, prompt_bars=3)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty"),
        ("\n\n", "holds no generated piece"),
        (f"S-0\t{EXAMPLE}\n", "without hypotheses"),
        ("s-9 o-0 t-30 i-3 p-60 d-6 v-20 b-1\n", "line 1: 's-9' is not in the six_track dictionary"),
        (f"H-0\t-1\t{EXAMPLE}\nH-1\t-1\tall sorts of words\n", "line 2: 'all' is not in the six_track dictionary"),
    ],
)
def test_what_holds_no_pieces_is_told(tmp_path, text, sentence):
    with pytest.raises(CommandError, match=sentence):
        read(tmp_path, text)


def test_missing_folders_are_told(tmp_path):
    with pytest.raises(CommandError, match="There is no folder"):
        read_generated(tmp_path / "absent", SIX_TRACK)
    with pytest.raises(CommandError, match="holds no token files"):
        read_generated(tmp_path, SIX_TRACK)


def test_symbols_that_models_without_grammar_write_are_pieces_too(tmp_path):
    (tmp_path / "a.txt").write_text("<unk> u-3 t-30 b-1\n")
    assert len(read_generated(tmp_path, GENERAL)[0].tokens) == 4


def test_first_bars():
    tokens = EXAMPLE.split()
    assert first_bars(tokens, 0) == []
    assert first_bars(tokens, 2) == " ".join(BARS[:2]).split()
    assert first_bars(tokens, 9) == tokens
