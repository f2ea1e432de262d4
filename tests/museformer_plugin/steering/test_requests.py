"""What is asked for is what is written: given bars and notes to the token, tracks, tempos and lengths."""

import numpy as np
import pytest
import torch

from museformer_plugin.generator import MuseformerGenerator
from museformer_plugin.piece_rules import PieceRules
from museformer_plugin.sampling import SamplingOptions
from museformer_plugin.steering.asked import wishes_of
from museformer_plugin.steering.sequence_bars import cut_bars, only_tracks
from museformer_plugin.task_options import MuseformerTaskConfig

REQUESTS = 50  # of each kind


@pytest.fixture(scope="module", params=["six_track", "general"])
def decoder(request, build_decoder):
    return build_decoder(request.param, steerable=True, seed=3, dtype=torch.float32)


@pytest.fixture
def fulfil(decoder):
    """A function from pieces (int64 [n], begin token first) and options to the bars of what was written of each."""

    def write(pieces, max_len=3000, seed=0, prompt_bars=None, **options):
        torch.manual_seed(seed)
        families = decoder.families
        wishes = wishes_of(MuseformerTaskConfig(**options), families.representation, prompt_bars)
        requests = [wishes.request_for(piece.numpy()[1:], families) for piece in pieces]
        begin = torch.tensor([families.dictionary.eos()])
        prompts = [torch.cat([begin, torch.from_numpy(request.prompt())]) for request in requests]
        padded = torch.nn.utils.rnn.pad_sequence(prompts, batch_first=True, padding_value=families.dictionary.pad())
        sample = {
            "net_input": {"src_tokens": padded},
            "prompt_lengths": torch.tensor([len(prompt) for prompt in prompts]),
            "requests": requests,
        }
        sampling = SamplingOptions(True, 0, 0, 1.0)
        generator = MuseformerGenerator(decoder, sampling, PieceRules(families, 0, max_len), at_once=7)
        found = [hypotheses[0]["tokens"].numpy() for hypotheses in generator.generate([], sample)]
        assert all(tokens[-1] == families.dictionary.eos() for tokens in found)
        for tokens in found:
            assert families.is_piece(tokens[:-1])
        return [cut_bars(tokens[:-1], families.end_of_bar) for tokens in found]

    return write


@pytest.fixture
def songs(decoder, read_piece):
    """A function from how many to pieces of 2 to 9 bars."""
    name = decoder.families.representation.name
    return lambda count: [read_piece(name, bars=2 + n % 8, seed=n) for n in range(count)]


def bars_of(decoder, piece):
    return cut_bars(piece.numpy()[1:], decoder.families.end_of_bar)


def equal(found, expected):
    return len(found) == len(expected) and all(map(np.array_equal, found, expected))


@pytest.mark.parametrize("option", ["fill_bars", "vary_bars"])
def test_bars_that_are_not_written_come_back_untouched(decoder, songs, fulfil, option):
    chance = np.random.default_rng(0)
    for song in songs(REQUESTS):
        bars = bars_of(decoder, song)
        first = int(chance.integers(1, len(bars)))
        last = int(chance.integers(first, len(bars)))
        (found,) = fulfil([song], **{option: f"{first}-{last}"})
        assert len(found) == len(bars)
        assert equal(found[: first - 1] + found[last:], bars[: first - 1] + bars[last:])


def test_bars_that_are_continued_come_back_untouched(decoder, songs, fulfil):
    for number, song in enumerate(songs(REQUESTS)):
        bars = bars_of(decoder, song)
        kept = 1 + number % len(bars)
        (found,) = fulfil([song], prompt_bars=kept, bars=kept + 3)
        assert len(found) == kept + 3
        assert equal(found[:kept], bars[:kept])


def tracks_of(decoder, bars):
    """Names of the instruments that play in bars."""
    families = decoder.families
    symbols = [decoder.dictionary[token] for bar in bars for token in bar]
    names = families.representation.track_names()
    played = {int(symbol[2:]) for symbol in symbols if symbol.startswith("i-")}
    return {names.get(instrument, "drums" if instrument == 128 else str(instrument)) for instrument in played}


def test_given_tracks_come_back_note_for_note_and_others_are_written(decoder, songs, fulfil):
    families = decoder.families
    others = 0
    for number, song in enumerate(songs(REQUESTS)):
        bars = bars_of(decoder, song)
        playing = sorted(tracks_of(decoder, bars))
        if not playing:
            continue
        kept = playing[: 1 + number % 2]
        if number % 3 == 0:
            kept = kept[:1]
        (found,) = fulfil([song], accompany=",".join(kept), seed=number)
        ranks = wishes_of(MuseformerTaskConfig(accompany=",".join(kept)), families.representation, None).given_tracks
        parts = [only_tracks(bar, ranks, families) for bar in found]
        assert equal(parts, [only_tracks(bar, ranks, families) for bar in bars])
        others += any(len(part) < len(bar) for part, bar in zip(parts, found))
    assert others > REQUESTS / 2


def test_given_tracks_and_no_others(decoder, songs, fulfil):
    """Where the tracks that may play are those that are given, the given notes alone are written."""
    families = decoder.families
    for song in songs(12):
        bars = bars_of(decoder, song)
        playing = sorted(tracks_of(decoder, bars))
        if playing:
            (found,) = fulfil([song], accompany=playing[0], tracks=playing[0])
            ranks = wishes_of(MuseformerTaskConfig(accompany=playing[0]), families.representation, None).given_tracks
            assert equal(found, [only_tracks(bar, ranks, families) for bar in bars])


def test_given_notes_fit_into_little_room(decoder, songs, fulfil):
    """All given notes are written, and little else, where a piece may be hardly longer than they are."""
    families = decoder.families
    for song in songs(12):
        bars = bars_of(decoder, song)
        playing = sorted(tracks_of(decoder, bars))
        if playing:
            ranks = wishes_of(MuseformerTaskConfig(accompany=playing[0]), families.representation, None).given_tracks
            parts = [only_tracks(bar, ranks, families) for bar in bars]
            room = sum(map(len, parts)) * 4 + 8 * len(bars) + 20
            (found,) = fulfil([song], accompany=playing[0], max_len=room)
            assert equal([only_tracks(bar, ranks, families) for bar in found], parts)


@pytest.mark.parametrize("bars", [1, 2, 17])
def test_exactly_so_many_bars_are_written(songs, fulfil, bars):
    (empty,) = [song[:1] for song in songs(1)]
    for seed in range(5):
        (found,) = fulfil([empty], bars=bars, seed=seed)
        assert len(found) == bars
    (found,) = fulfil([empty], bars=bars, max_len=2 * bars + 12)  # hardly room for empty ones
    assert len(found) == bars


def test_tracks_enter_and_leave_where_they_should(decoder, songs, fulfil):
    six_track = decoder.families.representation.name == "six_track"
    first, second, third = ("melody", "drums", "bass") if six_track else ("0", "drums", "127")
    (empty,) = [song[:1] for song in songs(1)]
    heard = {"early": set(), "late": set()}
    for seed in range(8):
        (found,) = fulfil([empty], bars=10, tracks=f"{first},{second},4:+{third},7:-{first}", seed=seed)
        early, middle, late = (tracks_of(decoder, part) for part in (found[:3], found[3:6], found[6:]))
        assert early <= {first, second}
        assert middle <= {first, second, third}
        assert late <= {second, third}
        heard["early"] |= early
        heard["late"] |= late
    assert heard == {"early": {first, second}, "late": {second, third}}


def test_no_track_at_all_is_silence(decoder, songs, fulfil):
    (empty,) = [song[:1] for song in songs(1)]
    name = "drums"
    (found,) = fulfil([empty], bars=4, tracks=f"{name},3:-{name}")
    assert not tracks_of(decoder, found[2:])


def test_the_tempo_is_kept(decoder, songs, fulfil):
    (empty,) = [song[:1] for song in songs(1)]
    (found,) = fulfil([empty], bars=6, tempo=96)
    tempos = {decoder.dictionary[token] for bar in found for token in bar if decoder.dictionary[token][0] == "t"}
    assert tempos == {"t-31"}  # round(12 * log2(96 / 16))


def test_pieces_without_a_length_end_by_themselves(decoder, songs, fulfil):
    (empty,) = [song[:1] for song in songs(1)]
    lengths = {len(fulfil([empty], tempo=96, seed=seed, max_len=400)[0]) for seed in range(8)}
    assert len(lengths) > 1


def test_a_batch_of_requests_is_written_as_each_is_asked(decoder, songs, fulfil):
    """More pieces than streams: others enter as they end."""
    pieces = [song for song in songs(24) if len(bars_of(decoder, song)) >= 4]
    for piece, found in zip(pieces, fulfil(pieces, fill_bars="2-3")):
        bars = bars_of(decoder, piece)
        assert equal(found[:1] + found[3:], bars[:1] + bars[3:])
