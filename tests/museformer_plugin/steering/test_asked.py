"""Options that cannot be read, contradict each other or do not fit a piece: a sentence each."""

import logging

import numpy as np
import pytest

from data_prep.form.outlines import repeats_by_letter
from data_prep.form.sections import parse_form
from museformer_plugin.errors import UserError
from museformer_plugin.steering.asked import Ask, ask_of, wishes_of
from museformer_plugin.steering.conditions import NEW, UNKNOWN, BarConditions, ConditionColumns, Role
from museformer_plugin.steering.form_columns import columns_of_form, distances_of
from museformer_plugin.task_options import MuseformerTaskConfig


def ask(families, tokens=(), prompt_length=None, **options):
    piece = np.asarray(tokens, dtype=np.int64)
    wishes = wishes_of(MuseformerTaskConfig(**options), families.representation)
    return Ask(wishes, families)(piece, len(piece) if prompt_length is None else prompt_length)


SIX_TRACK = [
    ({"bars": -1}, "--bars must be from 1 to 20000, not -1"),
    ({"bars": 20_001}, "--bars must be from 1 to 20000"),
    ({"density": -2}, "--density is how many notes a bar is to have, 0 or more, not -2"),
    ({"form": "8A"}, "--form: this is no form"),
    ({"form": "A0"}, "--form: this is no form: section 1, A0, has no bars"),
    ({"form": "A4,B4"}, "--form: this is no form: at place 3"),
    ({"form": "A4B4", "bars": 9}, "--form has 8 bars and --bars asks for 9: leave --bars out"),
    (
        {"repeats": "3"},
        "--repeats: '3' does not say which bars repeat which; write it as 9-12=1-4, 9-12=1-4:melody",
    ),
    (
        {"repeats": "3=1:flute"},
        "--repeats: there is no track 'flute'; there are melody, drums, bass, guitar, piano, strings",
    ),
    ({"form": "A4 3=1:-flute"}, "--form: there is no track 'flute'; there are melody"),
    ({"repeats": "3=1:+"}, "--repeats: '+' does not say which tracks stay to the note; write all, none, those that"),
    ({"repeats": "3=3"}, "--repeats: '3=3' lets bar 3 repeat itself or a later bar"),
    ({"repeats": "8-9=1-2", "bars": 8}, "--repeats names bar 9, and the piece has 8 bars"),
    ({"repeats": "9=1", "form": "A4B4"}, "--repeats names bar 9, and the piece has 8 bars"),
    ({"repeats": "513=1"}, "--repeats names bar 513, and without --bars a piece ends by bar 512"),
    ({"form": "A4B4 9=1"}, "--form: what is to repeat names bar 9, and the form has 8 bars"),
    ({"form": "A4 B4"}, "--form: 'B4' does not say which bars repeat which"),
    ({"tempo": "fast"}, "--tempo: 'fast' is not a tempo"),
    ({"tempo": "5"}, "--tempo: '5' is not a tempo that songs have"),
    ({"tempo": "1e3"}, "--tempo: '1e3' is not a tempo"),
    ({"metre": "3/4"}, "--metre: six_track pieces are in 4/4"),
    ({"tracks": "melody,banjo"}, "--tracks: there is no track 'banjo'; there are melody, drums, bass"),
    ({"tracks": "+drums"}, "--tracks takes tracks, and from a bar on what enters or leaves"),
    ({"tracks": " , "}, "--tracks names no track; leave it out"),
    ({"tracks": "9:drums"}, "--tracks takes tracks, and from a bar on what enters or leaves"),
    ({"tracks": "melody,0:+drums"}, "--tracks: bars are counted from 1, there is no bar 0"),
    ({"tracks": "melody,9:+melody"}, "--tracks: melody plays already at bar 9"),
    ({"tracks": "melody,9:-bass"}, "--tracks: bass does not play at bar 9"),
    ({"tracks": "melody,9:+drums,17:-drums", "bars": 16}, "--tracks changes at bar 17, and the piece has 16 bars"),
    ({"tracks": "drums,9:+bass", "form": "A4B4"}, "--tracks changes at bar 9, and the piece has 8 bars"),
    ({"tracks": "drums,1:-drums", "bars": 4}, "--tracks lets none play in the bars to write"),
    ({"tracks": "melody", "form": "i8"}, "--tracks and --form let none play in the bars to write"),
    ({"tracks": "melody;bass"}, "--tracks takes tracks"),
    ({"accompany": "banjo"}, "--accompany: there is no track 'banjo'"),
    (
        {"accompany": "melody,drums,bass,guitar,piano,strings"},
        "--accompany names all tracks: there is nothing to write",
    ),
    ({"fill_bars": "nine"}, "--fill-bars: 'nine' is neither a bar nor a range of bars; write them as 9-12"),
    ({"fill_bars": "0-4"}, "--fill-bars: bars are counted from 1, there is no bar 0"),
    ({"fill_bars": "12-9"}, "--fill-bars: the range 12-9 ends before it begins"),
    ({"vary_bars": "3-"}, "--vary-bars: '3-' is neither a bar nor a range of bars"),
    ({"vary_bars": "-3"}, "--vary-bars: '-3' is neither a bar nor a range of bars"),
    ({"fill_bars": "1-2", "vary_bars": "3-4"}, "--fill-bars and --vary-bars exclude each other: ask for one after"),
    ({"fill_bars": "1-2", "accompany": "melody"}, "--fill-bars and --accompany exclude each other"),
    ({"vary_bars": "1-2", "accompany": "melody"}, "--vary-bars and --accompany exclude each other"),
    ({"fill_bars": "1-2", "bars": 8}, "--bars does not go with --fill-bars: the piece has as many bars as it has"),
    ({"accompany": "melody", "bars": 8}, "--bars does not go with --accompany"),
    ({"fill_bars": "1-2", "prompt_bars": 4}, "--prompt-bars continues a piece; --fill-bars"),
]
OF_A_PIECE = [  # of 5 bars
    ({"fill_bars": "4-6"}, "--fill-bars asks for bar 6, and the song has 5 bars"),
    ({"fill_bars": "1-3,3-4"}, "--fill-bars names bar 3 twice"),
    ({"fill_bars": "1-5"}, "--fill-bars names all 5 bars of the song: there is nothing to fill between"),
    ({"vary_bars": "9"}, "--vary-bars asks for bar 9, and the song has 5 bars"),
    ({"bars": 5}, "5 bars are kept, and no more than 5 are asked for"),
    ({"bars": 2}, "5 bars are kept, and no more than 2 are asked for"),
    ({"form": "A2A2"}, "5 bars are kept, and no more than 4 are asked for"),
    ({"fill_bars": "2", "form": "A4A4"}, "--form has 8 bars, and the song 5"),
    ({"fill_bars": "2", "repeats": "6=1"}, "--repeats names bar 6, and the piece has 5 bars"),
    (
        {"fill_bars": "2", "repeats": "2-3=1-2"},
        "--repeats names bar 3, which is given: name bars that are",
    ),
    ({"bars": 9, "repeats": "5=1"}, "--repeats names bar 5, which is given"),
    ({"fill_bars": "2", "tracks": "melody,6:+drums"}, "--tracks changes at bar 6, and the piece has 5 bars"),
    ({"fill_bars": "3-4", "tracks": "melody,3:-melody"}, "--tracks lets none play in the bars to write"),
    (
        {"accompany": "drums,bass,guitar,piano,strings", "form": "i5"},
        "--form lets none but those that are given play in the bars to write",
    ),
    ({"accompany": "melody,bass", "tracks": "bass"}, "--tracks lets none but those that are given play in the bars"),
]


@pytest.mark.parametrize(("options", "sentence"), SIX_TRACK)
def test_what_cannot_be_asked(families_of, options, sentence):
    with pytest.raises(UserError) as raised:
        ask(families_of("six_track"), **options)
    assert str(raised.value).startswith(sentence)


@pytest.mark.parametrize(("options", "sentence"), OF_A_PIECE)
def test_what_cannot_be_asked_of_a_piece(families_of, read_piece, options, sentence):
    with pytest.raises(UserError) as raised:
        ask(families_of("six_track"), read_piece("six_track", bars=5, seed=0)[1:], **options)
    assert str(raised.value).startswith(sentence)


@pytest.mark.parametrize("options", [{"fill_bars": "1"}, {"vary_bars": "1"}, {"accompany": "melody"}])
def test_what_needs_a_song(families_of, options):
    with pytest.raises(UserError, match="need a song: there is none, or it has no bar"):
        ask(families_of("six_track"), **options)


def test_what_cannot_be_asked_of_general_tokens(families_of):
    families = families_of("general")
    for options, sentence in (
        ({"metre": "3"}, "--metre: '3' is not a metre"),
        ({"metre": "0/4"}, "--metre: '0/4' is not a metre"),
        ({"tracks": "melody"}, "--tracks: there is no track 'melody'; there are General MIDI programs, 0 to 127"),
        ({"tracks": "128"}, "--tracks: there is no track '128'"),
        ({"repeats": "2=1:melody"}, "--repeats: there is no track 'melody'; there are General MIDI programs, 0 to 127"),
        (
            {"accompany": "80", "metre": "3/4"},
            "--metre does not go with --accompany: the bars of the piece have metres",
        ),
        ({"fill_bars": "1", "metre": "3/4"}, "--metre does not go with --fill-bars"),
    ):
        with pytest.raises(UserError) as raised:
            ask(families, **options)
        assert str(raised.value).startswith(sentence)


def test_a_piece_is_asked_for_with_bars_on_both_sides(families_of, read_piece):
    families = families_of("six_track")
    request = ask(families, read_piece("six_track", bars=8, seed=0)[1:], fill_bars="3-4,7")
    assert [bar.number for bar in request.given] == [1, 2, 5, 6, 8]
    assert request.written == [3, 4, 7]
    assert request.guide.numbers.tolist() == [1, 2, 5, 6, 8, 3, 4, 7]
    assert all(limits.tempos for limits in request.limits)  # those of the bars beside


@pytest.fixture
def song(read_piece):
    """Tokens of a song of 16 bars of the form A4A4B4A4."""
    first, other = (read_piece("six_track", bars=4, seed=seed, notes_a_bar=12)[1:].numpy() for seed in (3, 4))
    return np.concatenate([first, first, other, first])


def test_of_bars_to_fill_it_is_not_guessed_what_they_repeat(families_of, song):
    """Those of an accompaniment are told it, as the next test shows: there it is heard."""
    assert not ask(families_of("six_track"), song, fill_bars="6-7").guide.bars_back().any()


def test_bars_of_an_accompaniment_repeat_as_the_given_tracks_do(families_of, song):
    request = ask(families_of("six_track"), song, accompany="melody,drums,bass,guitar,piano")
    assert request.guide.bars_back()[:16].tolist() == [0] * 16  # of parts
    assert request.guide.bars_back()[16:].tolist() == [0] * 4 + [4] * 4 + [0] * 4 + [8] * 4


def test_an_asked_form_is_told_rather_than_what_is_heard(families_of, song):
    request = ask(families_of("six_track"), song, fill_bars="6-7", form="A3B3C10")
    assert request.guide.bars_back()[-2:].tolist() == [0, 0]


def test_bars_are_filled_in_in_their_own_metres(families_of):
    families = families_of("general")
    bars = [f"s-{metre} o-0 t-31 i-0 p-60 d-12 v-20 b-1" for metre in (9, 5, 9)]
    tokens = [families.dictionary.index(symbol) for symbol in " ".join(bars).split()]
    request = ask(families, tokens, fill_bars="2")
    assert [limits.metres for limits in request.limits] == [{5}]
    assert [limits.tempos for limits in request.limits] == [{31}]


def test_a_form_is_what_repeats():
    letters, places, left = columns_of_form(parse_form("i2A3B2A4"))
    assert places.tolist() == [0, 1, 0, 1, 2, 0, 1, 0, 1, 2, 3]
    assert left.tolist() == [1, 0, 2, 1, 0, 1, 0, 3, 2, 1, 0]
    assert distances_of(repeats_by_letter(parse_form("i2A3B2A4"))).tolist() == [NEW] * 7 + [5, 5, 5, NEW]
    assert letters[2] == letters[7] != letters[5]


def features_of_distance(families, distance):
    """What is told of a bar that repeats the one so many bars before, or of a ``NEW`` one, and no more."""
    columns = ConditionColumns.of(families)
    nothing = BarConditions.nothing([Role.WRITTEN], columns.num_instruments)
    return columns.features(nothing.told(distances=np.array([distance])))[0]


def test_bars_repeat_those_that_are_asked_for_before_those_of_their_letters(families_of):
    six_track = families_of("six_track")
    request = ask(six_track, form="A4A4", repeats="3=1,6=3,7=new")
    assert request.guide.repeats.tolist() == [-1, -1, 0, -1, 0, 2, -1, 3]
    untold = ask(six_track, form="A4A4")
    assert request.limits == untold.limits and not request.unchanged
    told = [n for n in range(8) if not np.array_equal(request.guide.features[n], untold.guide.features[n])]
    assert told == [2, 5, 6]
    assert ask(six_track, form="A4A4 3=1,6=3,7=new").guide.repeats.tolist() == request.guide.repeats.tolist()
    request = ask(six_track, form="A4A4 3=1,6=new", repeats="6=3,7=new")
    assert request.guide.repeats.tolist() == [-1, -1, 0, -1, 0, 2, -1, 3]
    request = ask(six_track, form="A2A2 3=1:-drums", repeats="4=2:melody+bass")
    assert request.unchanged == [frozenset(), frozenset(), frozenset({0, 2, 3, 4, 5}), frozenset({0, 2})]
    request = ask(six_track, form="A2A2 3=1:all", repeats="3=1")  # of which no more is said
    assert not request.unchanged
    request = ask(six_track, repeats="3-4=1-2,6=new")  # of a piece of any length
    assert request.open_ended
    assert request.guide.repeats[:6].tolist() == [-1, -1, 0, 1, -1, -1]
    for bar, distance in enumerate([None, None, 2, 2, None, NEW]):
        expected = 0 if distance is None else features_of_distance(six_track, distance)
        np.testing.assert_array_equal(request.guide.features[bar], expected)


def test_bars_written_into_a_song_repeat_given_ones(families_of, song):
    families = families_of("six_track")
    request = ask(families, song, fill_bars="6-7", repeats="6-7=2-3")
    assert request.guide.numbers[request.guide.repeats[-2:]].tolist() == [2, 3]
    request = ask(families, song, prompt_length=int(np.flatnonzero(song == families.end_of_bar)[3]) + 1, repeats="6=2")
    assert request.guide.repeats[:7].tolist() == [-1] * 5 + [1, -1]
    request = ask(families, song, accompany="melody,drums,bass,guitar,piano", repeats="5=new,6=1")
    assert request.guide.bars_back()[16:].tolist() == [0] * 5 + [5] + [4] * 2 + [0] * 4 + [8] * 4


def entering(request):
    return [limits.enters for limits in request.limits]


def going_on(request):
    """The numbers of bars in which the melody goes on."""
    return [number for number, limits in zip(request.written, request.limits) if limits.goes_on]


def test_what_enters_later_does_not_play_before(families_of):
    families = families_of("six_track")
    request = ask(families, bars=6, tracks="3:+drums,5:-drums,4:-bass")
    names = list(families.representation.track_names().values())
    playing = [limits.instruments and {names[rank] for rank in limits.instruments} for limits in request.limits]
    others = {"melody", "guitar", "piano", "strings"}
    with_bass, all_of_them = others | {"bass"}, None
    assert playing == [with_bass, with_bass, all_of_them, others | {"drums"}, others, others]


def test_no_melody_plays_in_sections_without_one(families_of):
    families = families_of("six_track")
    request = ask(families, form="i3A2b2x1X2o2", tracks="melody,bass,drums")
    melody = families.representation.instruments.index(families.representation.instrument_of("melody"))
    playing = [melody in limits.instruments for limits in request.limits]
    #                  upbeat of A                      upbeat of X
    assert playing == [0, 0, 1] + [1, 1] + [0, 0] + [1] + [1, 1] + [0, 0]
    request = ask(families_of("general"), form="i3A2")
    assert all(limits.instruments is None for limits in request.limits)


def test_a_melody_enters_with_the_sections_that_have_one(families_of, read_piece):
    families = families_of("six_track")
    melody = families.representation.instruments.index(families.representation.instrument_of("melody"))
    request = ask(families, form="i1A2b1X1A1o1")
    assert entering(request) == [None, melody, None, None, None, melody, None]
    assert going_on(request) == [3]
    silent = [
        ask(families, form="A2", tracks="1:-melody"),
        ask(families_of("general"), form="A2"),
        ask(families, read_piece("six_track", bars=2, seed=1).numpy()[1:], accompany="melody", form="A2"),
    ]
    for request in silent:
        assert entering(request) == [None, None] and not going_on(request)


def test_a_melody_goes_on_from_the_bar_before(families_of, read_piece):
    families = families_of("six_track")
    song = read_piece("six_track", bars=6, seed=1).numpy()[1:]
    assert going_on(ask(families, song, form="A6", fill_bars="2-3,5-6")) == [3, 6]  # not behind bars that are given
    behind = int(np.flatnonzero(song == families.end_of_bar)[1]) + 1
    assert going_on(ask(families, song, prompt_length=behind, form="A5")) == [4, 5]
    assert going_on(ask(families, form="A3A3 4-5=1-2:melody")) == [2, 3, 6]  # it is as it was where it is to stay


def test_tracks_enter_at_their_bar(families_of):
    families = families_of("six_track")
    ranks = {name: rank for rank, name in enumerate(families.representation.track_names().values())}
    request = ask(families, bars=5, tracks="bass,melody,3:+drums,4:-drums,5:+drums")
    drums = ranks["drums"]
    bass, melody = ranks["bass"], ranks["melody"]
    assert entering(request) == [bass, melody, drums, None, drums]
    request = ask(families, form="i1A1B1o2", tracks="3:+drums,3:+piano")
    assert entering(request) == [None, melody, melody, drums, ranks["piano"]]
    request = ask(families, bars=4, tracks="bass,melody,piano,2:+drums")
    assert entering(request) == [bass, drums, melody, ranks["piano"]]
    request = ask(families, form="i1A4", tracks="bass,melody,3:+drums")
    assert entering(request) == [bass, melody, drums, None, None]
    assert going_on(request) == [3, 4, 5]


def test_no_track_is_to_enter_where_its_notes_are_settled(families_of, read_piece):
    families = families_of("six_track")
    ranks = {name: rank for rank, name in enumerate(families.representation.track_names().values())}
    bass, drums, melody, piano = (ranks[name] for name in ("bass", "drums", "melody", "piano"))
    request = ask(families, bars=6, tracks="melody,bass,drums,piano", repeats="2=1:all,3=2:all,4=1:bass")
    assert entering(request) == [melody, None, None, drums, bass, piano]
    request = ask(families, form="A2A2", tracks="1:-drums,3:+drums", repeats="3-4=1-2:melody")
    assert entering(request) == [melody, None, drums, None]
    song = read_piece("six_track", bars=6, seed=1).numpy()[1:]
    request = ask(families, song, fill_bars="2,4-5", tracks="2:+drums,2:+piano")
    assert entering(request) == [drums, None, None]  # what could not enter in one gap does not in the next


def test_tracks_that_are_named_are_heard_one_after_the_other(families_of, read_piece):
    families = families_of("general")
    request = ask(families, bars=5, tracks="32,drums,0,32")
    drums = len(families.representation.instruments) - 1
    assert entering(request) == [32, drums, 0, None, None]
    families = families_of("six_track")
    ranks = {name: rank for rank, name in enumerate(families.representation.track_names().values())}
    request = ask(families, form="i2A2", tracks="melody,bass,piano")  # the melody by its letter
    assert entering(request) == [ranks["bass"], ranks["piano"], ranks["melody"], None]
    song = read_piece("six_track", bars=3, seed=1).numpy()[1:]
    for options in ({"bars": 5, "prompt_bars": 3}, {"fill_bars": "1-2"}, {"accompany": "melody"}):
        request = ask(families, song, prompt_length=len(song), tracks="melody,bass,piano", **options)
        assert set(entering(request)) == {None}


def test_an_asked_form_says_how_many_bars_follow(families_of):
    families = families_of("six_track")
    request = ask(families, form="A4A4")
    assert request.written == list(range(1, 9))
    assert request.guide.repeats.tolist() == [-1] * 4 + [0, 1, 2, 3]
    assert not request.open_ended
    assert ask(families, tempo="96").open_ended
    assert UNKNOWN == -1


@pytest.fixture
def list_of_forms(tmp_path):
    path = tmp_path / "forms.txt"
    path.write_text("A2B2\nA3 3=1\nA1B3\n")
    return path


def drawn_forms(families, path, count=12, **options):
    """What is told of ``count`` pieces that are asked for one after the other: their bars and what is said of them."""
    ask = ask_of(MuseformerTaskConfig(form=str(path), **options), families, steerable=True, grammar=True)
    found = []
    for _ in range(count):
        guide = ask(np.empty(0, dtype=np.int64), 0).guide
        found.append((len(guide), guide.features.tobytes()))
    return found


def test_each_piece_has_a_form_of_the_list_drawn_by_the_seed(families_of, list_of_forms, caplog):
    caplog.set_level(logging.INFO)
    six_track = families_of("six_track")
    alone = {form: ask(six_track, form=form).guide for form in ("A2B2", "A1B3")}
    alone["A3 3=1"] = ask(six_track, form="A3", repeats="3=1").guide
    of_form = {(len(guide), guide.features.tobytes()): form for form, guide in alone.items()}
    drawn = [of_form[key] for key in drawn_forms(six_track, list_of_forms, seed=3)]
    assert set(drawn) == {"A2B2", "A3 3=1", "A1B3"}
    assert caplog.messages == [f"the form drawn for the next piece is {form}" for form in drawn]
    assert drawn == [of_form[key] for key in drawn_forms(six_track, list_of_forms, seed=3)]
    assert drawn != [of_form[key] for key in drawn_forms(six_track, list_of_forms, seed=4)]
    assert {of_form[key] for key in drawn_forms(six_track, list_of_forms, seed=3, bars=4)} == {"A2B2", "A1B3"}


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("A4", {"bars": 5}, "forms.txt lists no form of 5 bars"),
        ("A4\nfour", {}, "forms.txt, line 2: this is no form"),
        ("A4\nA4 3=1:flute", {}, "forms.txt: there is no track 'flute'; there are melody, drums"),
        (
            "A4 3=1",
            {"repeats": "5=1"},
            "No form of the list serves; of the last one tried: --repeats names bar 5",
        ),
        (
            "A4",
            {"fill_bars": "2"},
            "No form of the list serves; of the last one tried: --form has 4 bars, and the song 5",
        ),
    ],
    ids=["bars", "no form", "no track", "repeats", "of another length"],
)
def test_lists_of_forms_that_do_not_serve(families_of, read_piece, tmp_path, text, options, message):
    path = tmp_path / "forms.txt"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        asking = MuseformerTaskConfig(form=str(path), seed=1, **options)
        ask = ask_of(asking, families_of("six_track"), steerable=True, grammar=True)
        ask(read_piece("six_track", bars=5, seed=1).numpy()[1:], 0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("options", "kept", "bars"),
    [({}, 5, {12, 7}), ({"fill_bars": "2"}, 5, {5}), ({"tracks": "melody,6:+drums"}, 0, {12, 7})],
    ids=["continued", "filled", "tracks"],
)
def test_forms_that_do_not_go_with_the_piece_are_not_drawn(
    families_of, read_piece, tmp_path, options, kept, bars, seed
):
    path = tmp_path / "forms.txt"
    path.write_text("A3\nA8B4\nA5\nB7\n")
    families = families_of("six_track")
    piece = read_piece("six_track", bars=5, seed=1).numpy()[1:]
    ask = ask_of(MuseformerTaskConfig(form=str(path), seed=seed, **options), families, steerable=True, grammar=True)
    found = {len(ask(piece, len(piece) if kept else 0).guide) for _ in range(8)}
    assert found <= bars


@pytest.mark.parametrize("form", ["forms.txt", "no/forms", "A4" * 200 + "!"])
def test_what_is_neither_a_form_nor_a_file(families_of, form):
    no_file = "there is no file forms.txt, and " if form == "forms.txt" else ""
    with pytest.raises(UserError, match=f"--form: {no_file}.*this is no form"):
        ask_of(MuseformerTaskConfig(form=form, seed=1), families_of("six_track"), steerable=True, grammar=True)
