import pytest
import torch
from torch import nn

from data_prep.tokens.grammar import GrammarState, check_piece
from data_prep.tokens.vocabulary import REPRESENTATIONS
from data_prep.tokens_to_midi import decode
from museformer_plugin import pieces_under_way
from museformer_plugin.errors import UserError
from museformer_plugin.generator import MuseformerGenerator
from museformer_plugin.grammar import StreamGrammar
from museformer_plugin.piece_rules import TOKENS_TO_CLOSE, PieceRules
from museformer_plugin.sampling import SamplingOptions

ANY = SamplingOptions(sampling=True, topk=-1, topp=-1.0, temperature=1.0)
TOP_8 = SamplingOptions(sampling=True, topk=8, topp=-1.0, temperature=1.0)
GREEDY = SamplingOptions(sampling=False, topk=-1, topp=-1.0, temperature=1.0)


@pytest.fixture(scope="module")
def decoders(build_decoder):
    return {name: build_decoder(name, dtype=torch.float32) for name in ("six_track", "general")}


@pytest.fixture
def write(decoders):
    """A function that writes pieces: (words of every hypothesis by prompt, hypotheses by prompt)."""

    def write(name, prompts=((),), options=TOP_8, streams=1, min_len=1, max_len=200, grammar=True, seed=0, at_once=0):
        decoder = decoders[name]
        dictionary = decoder.dictionary
        torch.manual_seed(seed)
        generator = MuseformerGenerator(
            decoder,
            options,
            PieceRules(decoder.families, min_len, max_len, grammar),
            pieces_per_prompt=streams,
            at_once=at_once,
        )
        rows = [
            torch.tensor([dictionary.eos(), *(dictionary.index(word) for word in words)], dtype=torch.long)
            for words in prompts
        ]
        padded = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=dictionary.pad())
        found = generator.generate([], {"net_input": {"src_tokens": padded}})
        words = [[[dictionary[entry] for entry in h["tokens"].tolist()] for h in of_prompt] for of_prompt in found]
        return words, found

    return write


@pytest.mark.parametrize("options", [ANY, TOP_8], ids=["any_token", "top_8"])
@pytest.mark.parametrize("name", ["six_track", "general"])
def test_a_hundred_pieces_of_an_untrained_model_decode(write, name, options):
    (pieces,), _ = write(name, streams=100, max_len=250, options=options)
    assert len(pieces) == 100
    representation = REPRESENTATIONS[name]
    for words in pieces:
        assert words[-2:] == ["b-1", "</s>"]
        check_piece(words[:-1], representation)
        assert decode(words[:-1], representation, strict=True).skipped == []
    assert len({tuple(words) for words in pieces}) == 100


@pytest.mark.parametrize("name", ["six_track", "general"])
def test_an_instrument_has_a_pitch_once_at_an_onset(write, name):
    """However a model likes to say a note again: the grammar alone lets it come without end."""
    (pieces,), _ = write(name, streams=100, max_len=250, options=ANY)
    for words in pieces:
        pitches = set()
        for word in words:
            if word[0] in "oi":
                pitches.clear()
            if word[0] == "p":
                assert word not in pitches
                pitches.add(word)


@pytest.mark.parametrize("name", ["six_track", "general"])
def test_pieces_are_closed_before_they_are_too_long(write, name):
    for max_len in range(TOKENS_TO_CLOSE, 50):
        (pieces,), _ = write(name, streams=20, min_len=1, max_len=max_len, seed=max_len)
        assert max(map(len, pieces)) <= max_len
        for words in pieces:
            assert words[-1] == "</s>"
            check_piece(words[:-1], REPRESENTATIONS[name])


@pytest.mark.parametrize("name", ["six_track", "general"])
def test_prompts_that_leave_just_enough_room_are_closed(write, write_piece, name):
    """Wherever in a bar they stop, and whatever bar they stop in."""
    piece = write_piece(name, 4, seed=1)
    for length in range(1, len(piece)):
        (pieces,), _ = write(name, [piece[:length]], streams=5, max_len=length + TOKENS_TO_CLOSE)
        for words in pieces:
            assert words[:length] == piece[:length]
            assert words[-1] == "</s>"
            assert len(words) <= length + TOKENS_TO_CLOSE
            check_piece(words[:-1], REPRESENTATIONS[name])


@pytest.mark.parametrize("at_once", [0, 7])
@pytest.mark.parametrize("name", ["six_track", "general"])
@pytest.mark.parametrize(("min_len", "max_len"), [(60, 200), (60, 64), (60, 61)], ids=str)
def test_pieces_are_not_too_short(write, name, min_len, max_len, at_once):
    (pieces,), _ = write(name, streams=40, min_len=min_len, max_len=max_len, at_once=at_once)
    lengths = [len(words) for words in pieces]
    assert min(lengths) >= min_len
    assert max(lengths) <= max_len


@pytest.mark.parametrize("at_once", [0, 7])
def test_without_the_grammar_lengths_hold_too(write, at_once):
    (pieces,), _ = write("six_track", streams=40, min_len=20, max_len=30, options=ANY, grammar=False, at_once=at_once)
    assert len(pieces) == 40
    assert all(20 <= len(words) <= 30 and words[-1] == "</s>" for words in pieces)
    assert not any(words.count("</s>") > 1 for words in pieces)


def test_the_end_may_come_from_the_least_length_on(decoders):
    families = decoders["six_track"].families
    dictionary, state = families.dictionary, GrammarState(families.representation)
    pieces = [[dictionary.index(word) for word in ["t-3", "b-1"] * bars] for bars in range(5)]  # 0, 2 ... 8 tokens
    grammar = StreamGrammar(families, [state] * len(pieces), torch.device("cpu"))
    for held, min_len, expected in (
        (False, 0, [True] * 5),  # an empty piece too
        (False, 5, [False, False, True, True, True]),
        (False, 6, [False, False, False, True, True]),
        (True, 0, [False, True, True, True, True]),
        (True, 5, [False, False, True, True, True]),
        (True, 6, [False, False, False, True, True]),
    ):
        rules = PieceRules(families, min_len, 100, held)
        lengths = torch.tensor([len(tokens) for tokens in pieces])
        allowed = rules.allowed(lengths, grammar, torch.zeros(len(pieces), len(dictionary)))
        assert allowed[:, dictionary.eos()].tolist() == expected
        assert (allowed.sum(dim=1) > 1).all()


def test_a_piece_without_room_for_a_bar_more_ends_though_it_is_too_short(decoders):
    families = decoders["six_track"].families
    dictionary = families.dictionary
    lengths = torch.tensor([6, 8])  # of bars of two tokens
    grammar = StreamGrammar(families, [GrammarState(families.representation)] * 2, torch.device("cpu"))
    allowed = PieceRules(families, 10, 10).allowed(lengths, grammar, torch.zeros(2, len(dictionary)))
    assert not allowed[0, dictionary.eos()]
    assert allowed[0, dictionary.index("t-3")]
    assert allowed[1].nonzero().tolist() == [[dictionary.eos()]]


def test_without_the_grammar_anything_may_come(write):
    (pieces,), _ = write("six_track", [["p-60"]], streams=20, options=ANY, max_len=60, grammar=False)
    families = {word.partition("-")[0] for words in pieces for word in words[1:-1]}
    assert {"u", "p", "o"} <= families
    assert not families & {"<s>", "<pad>", "<unk>"}


def test_prompts_of_unequal_length_are_kept(write, write_piece):
    prompts = [write_piece("six_track", bars, seed=bars) for bars in (1, 3)]
    prompts += [prompts[1][:20], []]
    pieces, hypotheses = write("six_track", prompts, streams=3, max_len=300)
    for prompt, of_prompt, found in zip(prompts, pieces, hypotheses):
        assert len(of_prompt) == 3
        for words, hypothesis in zip(of_prompt, found):
            assert words[: len(prompt)] == prompt
            assert len(words) > len(prompt)
            assert not hypothesis["positional_scores"][: len(prompt)].any()
            check_piece(words[:-1], REPRESENTATIONS["six_track"])


@pytest.mark.parametrize("at_once", [0, 1, 3])
@pytest.mark.parametrize("name", ["six_track", "general"])
def test_scores_are_the_models_log_probabilities(write, write_piece, decoders, name, at_once):
    """Also of pieces that enter where others have ended."""
    prompt = write_piece(name, 2, seed=0)
    _, found = write(name, [prompt, []], streams=4, max_len=150, at_once=at_once)
    decoder = decoders[name]
    for hypothesis in (h for of_prompt in found for h in of_prompt):
        tokens = hypothesis["tokens"]
        source = torch.cat([tokens.new_tensor([decoder.dictionary.eos()]), tokens[:-1]])
        with torch.no_grad():
            expected = decoder(source[None])[0][0].log_softmax(dim=-1).gather(1, tokens[:, None]).squeeze(1)
        scores = hypothesis["positional_scores"]
        given = len(prompt) if tokens[: len(prompt)].tolist() == found[0][0]["tokens"][: len(prompt)].tolist() else 0
        torch.testing.assert_close(scores[given:], expected[given:], rtol=0, atol=1e-4)
        assert hypothesis["score"].item() == pytest.approx(scores[given:].mean().item(), rel=1e-4)


def test_pieces_that_enter_continue_their_own_prompts(write, write_piece):
    prompts = [write_piece("six_track", bars, seed=bars) for bars in (1, 3, 2)]
    pieces, _ = write("six_track", [*prompts, []], streams=5, max_len=250, at_once=4)
    for prompt, of_prompt in zip([*prompts, []], pieces):
        assert len({tuple(words) for words in of_prompt}) == 5
        for words in of_prompt:
            assert words[: len(prompt)] == prompt
            assert len(words) > len(prompt)
            check_piece(words[:-1], REPRESENTATIONS["six_track"])


def test_no_more_pieces_than_asked_for_are_written_at_a_time(write, decoders, monkeypatch):
    sizes = []
    step = type(decoders["general"]).advance
    monkeypatch.setattr(
        type(decoders["general"]),
        "advance",
        lambda self, tokens, streams: sizes.append(len(tokens)) or step(self, tokens, streams),
    )
    (pieces,), _ = write("general", streams=9, max_len=60, at_once=4)
    assert len(pieces) == 9
    assert set(sizes[: len(sizes) // 2]) == {4}
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("at_once", [0, 2])
def test_the_progress_counts_every_token(write, write_piece, monkeypatch, at_once):
    """Also where a piece ends with its first token."""
    shown = []
    bar = pieces_under_way.tqdm
    monkeypatch.setattr(pieces_under_way, "tqdm", lambda **options: shown.append(bar(**options)) or shown[-1])
    prompt = write_piece("six_track", 1, seed=0)
    (pieces,), _ = write("six_track", [prompt], streams=8, max_len=len(prompt) + TOKENS_TO_CLOSE, at_once=at_once)
    assert shown[0].n == shown[0].total == sum(len(words) - len(prompt) for words in pieces)


@pytest.mark.parametrize("prompt_bars", [0, 2])
def test_bar_by_bar_comes_what_is_generated_at_once(decoders, write, write_piece, prompt_bars):
    decoder, prompt = decoders["six_track"], write_piece("six_track", prompt_bars, seed=4) if prompt_bars else []
    (((*words, _),),), _ = write("six_track", [prompt], seed=8)
    generator = MuseformerGenerator(decoder, TOP_8, PieceRules(decoder.families, 1, 200), seed=8, progress=False)
    begun = torch.tensor([decoder.dictionary.eos(), *map(decoder.dictionary.index, prompt)])
    bars = [
        [decoder.dictionary[token] for token in bar]
        for bar in generator.bars({"net_input": {"src_tokens": begun[None]}})
    ]
    assert [word for bar in bars for word in bar] == words[len(prompt) :]
    assert all(bar.index("b-1") == len(bar) - 1 for bar in bars)


def test_hypotheses_come_best_first(write):
    _, (found,) = write("six_track", streams=10)
    scores = [h["score"].item() for h in found]
    assert scores == sorted(scores, reverse=True)


def test_the_seed_decides(write):
    first, again, other = (write("general", streams=3, seed=seed)[0] for seed in (1, 1, 2))
    assert first == again != other


def test_the_likeliest_tokens_need_no_seed(write):
    first, other = (write("six_track", options=GREEDY, seed=seed)[0] for seed in (1, 2))
    assert first == other


def test_a_prompt_without_room_is_told(write, write_piece):
    prompt = write_piece("six_track", 3, seed=0)
    with pytest.raises(UserError, match=f"A prompt of {len(prompt)} tokens leaves no room in pieces of at most"):
        write("six_track", [prompt], max_len=len(prompt) + TOKENS_TO_CLOSE - 1)


def test_a_prompt_that_breaks_the_grammar_is_told(write):
    with pytest.raises(UserError, match="Prompt 2 breaks the grammar at token 3: p-60 may not come here"):
        write("six_track", [[], ["t-3", "o-0", "p-60"]])


def test_prefix_tokens_are_prompts(decoders, write_piece):
    decoder = decoders["six_track"]
    dictionary = decoder.dictionary
    words = write_piece("six_track", 2, seed=0)[:9]
    prefix = torch.tensor([[dictionary.index(word) for word in words]])
    generator = MuseformerGenerator(decoder, TOP_8, PieceRules(decoder.families, 1, 100))
    ((hypothesis,),) = generator.generate([], {"net_input": {"src_tokens": prefix}}, prefix_tokens=prefix)
    assert hypothesis["tokens"][:9].tolist() == prefix[0].tolist()


def test_prompt_lengths_cut_the_source(decoders, read_piece):
    decoder = decoders["six_track"]
    source = read_piece("six_track", bars=3, seed=0)[None]
    generator = MuseformerGenerator(decoder, TOP_8, PieceRules(decoder.families, 1, 200))
    sample = {"net_input": {"src_tokens": source}, "prompt_lengths": torch.tensor([5])}
    torch.manual_seed(0)
    ((hypothesis,),) = generator.generate([], sample)
    assert hypothesis["tokens"][:4].tolist() == source[0, 1:5].tolist()
    assert hypothesis["positional_scores"][4] != 0
