"""What is asked for is what is written: given bars and notes to the token, tracks, tempos and lengths."""

import numpy as np
import pytest
import torch

from museformer_plugin import pieces_under_way
from museformer_plugin.errors import UserError
from museformer_plugin.generator import MuseformerGenerator
from museformer_plugin.piece_rules import TOKENS_TO_CLOSE, PieceRules
from museformer_plugin.sampling import SamplingOptions
from museformer_plugin.steering.asked import Ask, wishes_of
from museformer_plugin.steering.sequence_bars import cut_bars, only_tracks
from museformer_plugin.task_options import MuseformerTaskConfig

REQUESTS = 24  # of each kind
ROOM = 1500  # tokens of a piece: some of them are not cut short


@pytest.fixture(scope="module", params=["six_track", "general"])
def decoder(request, build_decoder):
    return build_decoder(request.param, steerable=True, seed=3, dtype=torch.float32)


def kept_tokens(families, tokens, bars):
    """How many tokens the first ``bars`` bars have, with the begin token."""
    starts = [*families.piece_bars(tokens.numpy()).starts, len(tokens)]
    return len(tokens) if bars is None or len(tokens) == 1 else starts[bars]


@pytest.fixture
def fulfil(decoder):
    """A function from pieces (int64 [n], begin token first), each with options, to the bars that were written of each.

    They are written together, so that streams enter and leave at different places.
    """

    def write(asked, max_len=600, seed=0, at_once=0):
        torch.manual_seed(seed)
        families = decoder.families
        wishes = [wishes_of(MuseformerTaskConfig(**options), families.representation) for _, _, options in asked]
        rows = [piece for piece, _, _ in asked]
        padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=families.dictionary.pad())
        sample = {
            "net_input": {"src_tokens": padded},
            "prompt_lengths": torch.tensor([kept_tokens(families, row, kept) for row, kept, _ in asked]),
        }
        asking = iter(wishes)
        sampling = SamplingOptions(True, 0, 0, 1.0)
        rules = PieceRules(families, 0, max_len)

        def ask(piece, prompt_length):
            return Ask(next(asking), families)(piece, prompt_length)

        generator = MuseformerGenerator(decoder, sampling, rules, at_once=at_once, ask=ask)
        found = [hypotheses[0]["tokens"].numpy() for hypotheses in generator.generate([], sample)]
        assert all(tokens[-1] == families.dictionary.eos() for tokens in found)
        assert all(families.is_piece(tokens[:-1]) for tokens in found)
        return [cut_bars(tokens[:-1], families.end_of_bar) for tokens in found]

    return write


@pytest.fixture
def songs(decoder, read_piece):
    """Pieces of 2 to 9 bars."""
    name = decoder.families.representation.name
    return [read_piece(name, bars=2 + n % 8, seed=n) for n in range(REQUESTS)]


@pytest.fixture
def empty(songs):
    """No bar at all."""
    return songs[0][:1]


def bars_of(decoder, piece):
    return cut_bars(piece.numpy()[1:], decoder.families.end_of_bar)


def equal(found, expected):
    return len(found) == len(expected) and all(map(np.array_equal, found, expected))


@pytest.mark.parametrize("option", ["fill_bars", "vary_bars"])
def test_bars_that_are_not_written_come_back_untouched(decoder, songs, fulfil, option):
    chance = np.random.default_rng(0)
    spans = []
    for song in songs:
        first = int(chance.integers(1, len(bars_of(decoder, song))))
        spans.append((first, int(chance.integers(first, len(bars_of(decoder, song))))))
    asked = [(song, None, {option: f"{first}-{last}"}) for song, (first, last) in zip(songs, spans)]
    changed = 0
    for song, (first, last), found in zip(songs, spans, fulfil(asked, at_once=30)):
        bars = bars_of(decoder, song)
        assert len(found) == len(bars)
        assert equal(found[: first - 1] + found[last:], bars[: first - 1] + bars[last:])
        changed += not equal(found[first - 1 : last], bars[first - 1 : last])
    assert changed > REQUESTS / 2


def test_bars_that_are_continued_come_back_untouched(decoder, songs, fulfil):
    kept = [1 + number % len(bars_of(decoder, song)) for number, song in enumerate(songs)]
    asked = [(song, count, {"bars": count + 3}) for song, count in zip(songs, kept)]
    for song, count, found in zip(songs, kept, fulfil(asked)):
        assert len(found) == count + 3
        assert equal(found[:count], bars_of(decoder, song)[:count])


def tracks_of(decoder, bars):
    """Names of the instruments that play in bars."""
    families = decoder.families
    symbols = [decoder.dictionary[token] for bar in bars for token in bar]
    names = families.representation.track_names()
    played = {int(symbol[2:]) for symbol in symbols if symbol.startswith("i-")}
    return {names.get(instrument, "drums" if instrument == 128 else str(instrument)) for instrument in played}


def ranks_of(decoder, tracks):
    return wishes_of(MuseformerTaskConfig(accompany=tracks), decoder.families.representation).given_tracks


@pytest.fixture
def accompanied(decoder, songs):
    """Songs, and some of the tracks that play in each."""
    chosen = []
    for number, song in enumerate(songs):
        playing = sorted(tracks_of(decoder, bars_of(decoder, song)))
        if playing:
            chosen.append((song, ",".join(playing[: 1 + number % 2])))
    return chosen


def test_given_tracks_come_back_note_for_note_and_others_are_written(decoder, accompanied, fulfil):
    asked = [(song, None, {"accompany": tracks}) for song, tracks in accompanied]
    others = 0
    for (song, tracks), found in zip(accompanied, fulfil(asked, at_once=30)):
        ranks = ranks_of(decoder, tracks)
        parts = [only_tracks(bar, ranks, decoder.families) for bar in found]
        assert equal(parts, [only_tracks(bar, ranks, decoder.families) for bar in bars_of(decoder, song)])
        others += any(len(part) < len(bar) for part, bar in zip(parts, found))
    assert others > REQUESTS / 2


def test_given_tracks_and_no_others(decoder, accompanied, fulfil):
    """As long as the tracks that may play are those that are given, the given notes alone are written."""
    other = "guitar" if decoder.families.representation.name == "six_track" else "77"
    asked = []
    for song, tracks in accompanied:
        last = len(bars_of(decoder, song))
        if other not in tracks.split(","):
            asked.append((song, None, {"accompany": tracks, "tracks": f"{tracks},{last}:+{other}"}))
    assert len(asked) > REQUESTS / 2
    for (song, _, options), found in zip(asked, fulfil(asked)):
        ranks = ranks_of(decoder, options["accompany"])
        parts = [only_tracks(bar, ranks, decoder.families) for bar in bars_of(decoder, song)]
        assert equal(found[:-1], parts[:-1])
        assert equal([only_tracks(found[-1], ranks, decoder.families)], parts[-1:])


def test_given_tracks_at_another_tempo(decoder, accompanied, fulfil):
    """Their notes are the same, also where each onset has its tempo."""
    families = decoder.families

    def notes(bars, ranks):
        parts = np.concatenate([only_tracks(bar, ranks, families) for bar in bars])
        return [symbol for symbol in map(decoder.dictionary.__getitem__, parts) if symbol[0] != "t"]

    asked = [(song, None, {"accompany": tracks, "tempo": "96"}) for song, tracks in accompanied[:8]]
    for (song, tracks), found in zip(accompanied, fulfil(asked)):
        ranks = ranks_of(decoder, tracks)
        assert notes(found, ranks) == notes(bars_of(decoder, song), ranks)
        tempos = {decoder.dictionary[token] for bar in found for token in bar if decoder.dictionary[token][0] == "t"}
        assert tempos == {"t-31"}


def test_given_notes_fit_into_little_room(decoder, accompanied, fulfil):
    """All given notes are written, and little else, where a piece may be hardly longer than they are."""
    for song, tracks in accompanied[:8]:
        ranks = ranks_of(decoder, tracks)
        parts = [only_tracks(bar, ranks, decoder.families) for bar in bars_of(decoder, song)]
        notes = sum(symbol.startswith("p-") for part in parts for symbol in map(decoder.dictionary.__getitem__, part))
        room = 2 * sum(map(len, parts)) + 6 * notes + 20
        (found,) = fulfil([(song, None, {"accompany": tracks})], max_len=room)
        assert equal([only_tracks(bar, ranks, decoder.families) for bar in found], parts)


def notes_of(decoder, bar, tracks=None):
    """Symbols of a bar's onsets and notes, and of its metre; of these ``tracks``, as ranks, where there are any."""
    tokens = bar if tracks is None else only_tracks(bar, tracks, decoder.families)
    return [symbol for symbol in map(decoder.dictionary.__getitem__, tokens) if symbol[0] != "t"]


def same_metre(decoder, bar, other):
    return not decoder.families.representation.has_metre or bar[0] == other[0]


def two_tracks(decoder):
    return ("melody", "drums") if decoder.families.representation.name == "six_track" else ("0", "drums")


def had_room(found):
    """Whether none of a piece's bars was cut short."""
    return max(map(len, found)) < ROOM / 8


def test_bars_repeat_others_to_the_note_in_the_tracks_that_stay(decoder, empty, fulfil):
    first, second = two_tracks(decoder)
    repeats = f"2=1:all,3=1:{first},4=1:-{first},5=1:none"
    options = {"bars": 5, "tracks": f"{first},{second}", "repeats": repeats}
    one, other = ranks_of(decoder, first), ranks_of(decoder, second)
    played, varied = 0, 0
    others = [(empty, None, {"bars": 3}), (empty, None, {"tempo": "96"})]  # so that streams of both kinds enter
    asked = [*others, *[(empty, None, options)] * 12, *others]
    for found in filter(had_room, fulfil(asked, max_len=ROOM, at_once=5)[2:-2]):
        for bar, tracks in ((1, one | other), (2, one), (3, other)):
            assert notes_of(decoder, found[bar], tracks) == notes_of(decoder, found[0], tracks)
            played += any(symbol[0] == "p" for symbol in notes_of(decoder, found[bar], tracks))
        varied += sum(notes_of(decoder, found[bar]) != notes_of(decoder, found[0]) for bar in (2, 3, 4))
    assert played > 1 and varied > 1


def test_bars_written_into_songs_repeat_given_ones_to_the_note(decoder, songs, fulfil):
    """But for those in another metre, and in tracks that do not play in the bar to write."""
    first, second = two_tracks(decoder)
    long = [song for song in songs if len(bars_of(decoder, song)) >= 6 and len(song) < ROOM / 2][:8]
    filled = [(song, None, {"fill_bars": "4", "repeats": "4=1:all"}) for song in long]
    tracks = f"{first},{second}"
    continued = [(song, 2, {"bars": 4, "repeats": "3-4=1-2:all", "tracks": tracks}) for song in long]
    found = fulfil(filled + continued, max_len=ROOM)
    compared = 0
    for song, written in zip(long, found):
        given = bars_of(decoder, song)
        if had_room(written) and same_metre(decoder, given[0], given[3]):
            assert notes_of(decoder, written[3]) == notes_of(decoder, given[0])
            compared += 1
    assert compared
    kept, compared = ranks_of(decoder, tracks), 0
    for song, written in zip(long, found[len(long) :]):
        for bar, given in zip(written[2:], bars_of(decoder, song)):
            if had_room(written):
                assert notes_of(decoder, bar, kept) == notes_of(decoder, given, kept)
                compared += 1
    assert compared


def test_accompaniments_repeat_to_the_note_what_is_not_given(decoder, accompanied, fulfil):
    short = [(song[: kept_tokens(decoder.families, song, 2)], tracks) for song, tracks in accompanied]
    asked = [(song, None, {"accompany": tracks, "repeats": "2=1:all"}) for song, tracks in short]
    compared = 0
    for (song, tracks), found in zip(short, fulfil(asked, max_len=ROOM)):
        given = ranks_of(decoder, tracks)
        others = set(range(len(decoder.families.representation.instruments))) - given
        of_song = bars_of(decoder, song)
        for bar, own in zip(found, of_song):
            assert np.array_equal(only_tracks(bar, given, decoder.families), only_tracks(own, given, decoder.families))
        if had_room(found) and same_metre(decoder, *of_song):
            assert notes_of(decoder, found[1], others) == notes_of(decoder, found[0], others)
            compared += any(symbol[0] == "p" for symbol in notes_of(decoder, found[1], others))
    assert compared


def test_a_bar_that_repeats_to_the_note_is_whole_where_it_fits(decoder, songs, fulfil):
    """And where it does not, it is written all the same, of what there is room for."""
    whole, written = 0, 0
    for song in [song for song in songs if len(bars_of(decoder, song)[0]) > 20][:6]:
        first = bars_of(decoder, song)[0]
        asked = [(song, 1, {"bars": 2, "repeats": "2=1:all"})]
        for more in range(TOKENS_TO_CLOSE + 1, TOKENS_TO_CLOSE + 4):
            (found,) = fulfil(asked, max_len=2 * len(first) + more)
            assert notes_of(decoder, found[1]) == notes_of(decoder, first)
            whole += 1
        (found,) = fulfil(asked, max_len=2 * len(first) + TOKENS_TO_CLOSE - 4)
        written += len(found[1]) > 2
    assert whole and written


@pytest.mark.parametrize("length", [{"bars": 6}, {}], ids=["so many bars", "any length"])
def test_bars_that_repeat_to_the_note_are_shorter_for_want_of_room(empty, fulfil, length):
    repeats = ",".join(f"{bar}={bar - 1}:all" for bar in range(2, 7))
    for room in (30, 60, 120):
        for found in fulfil([(empty, None, {**length, "repeats": repeats})] * 4, max_len=room, seed=room):
            assert sum(map(len, found)) < room
            assert len(found) == 6 or not length


@pytest.mark.parametrize("bars", [1, 2, 9])
def test_exactly_so_many_bars_are_written(empty, fulfil, bars):
    found = fulfil([(empty, None, {"bars": bars})] * 5)
    assert list(map(len, found)) == [bars] * 5
    (found,) = fulfil([(empty, None, {"bars": bars})], max_len=2 * bars + 12)  # hardly room for empty ones
    assert len(found) == bars


def test_tracks_enter_and_leave_where_they_should(decoder, empty, fulfil):
    six_track = decoder.families.representation.name == "six_track"
    first, second, third = ("melody", "drums", "bass") if six_track else ("0", "drums", "127")
    heard = {"early": set(), "late": set()}
    tracks = f"{first},{second},4:+{third},7:-{first}"
    for found in fulfil([(empty, None, {"bars": 10, "tracks": tracks})] * 24):
        early, middle, late = (tracks_of(decoder, part) for part in (found[:3], found[3:6], found[6:]))
        assert early <= {first, second}
        assert middle <= {first, second, third}
        assert late <= {second, third}
        heard["early"] |= early
        heard["late"] |= late
    assert heard == {"early": {first, second}, "late": {second, third}}


def test_no_track_at_all_is_silence(decoder, empty, fulfil):
    (found,) = fulfil([(empty, None, {"bars": 4, "tracks": "drums,3:-drums"})])
    assert not tracks_of(decoder, found[2:])


def test_the_tempo_is_kept(decoder, empty, fulfil):
    (found,) = fulfil([(empty, None, {"bars": 6, "tempo": "96"})])
    tempos = {decoder.dictionary[token] for bar in found for token in bar if decoder.dictionary[token][0] == "t"}
    assert tempos == {"t-31"}  # round(12 * log2(96 / 16))


def test_pieces_without_a_length_end_by_themselves(empty, fulfil):
    found = fulfil([(empty, None, {"tempo": "96"})] * 40, max_len=400)
    assert len(set(map(len, found))) > 1
    assert min(sum(map(len, bars)) for bars in found) < 200  # not for want of room


def test_given_bars_without_room_are_told(songs, fulfil):
    """Bars around those that are filled in cannot be left out as those of a prompt can."""
    with pytest.raises(UserError, match=r"in pieces of at most 12 tokens: raise --max-len-b\.$"):
        fulfil([(songs[7], None, {"fill_bars": "2"})], max_len=12)
    with pytest.raises(UserError, match="or give fewer bars with --prompt-bars"):
        fulfil([(songs[7], 8, {"bars": 12})], max_len=12)


def test_the_progress_counts_bars_where_they_are_asked_for(empty, songs, fulfil, monkeypatch):
    shown = []
    bar = pieces_under_way.tqdm
    monkeypatch.setattr(pieces_under_way, "tqdm", lambda **options: shown.append(bar(**options)) or shown[-1])
    fulfil([(songs[7], None, {"fill_bars": "2-4"}), (empty, None, {"bars": 5})], at_once=1)
    assert shown[0].unit == "bar"
    assert shown[0].n == shown[0].total == 3 + 5
