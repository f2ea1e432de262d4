"""Incremental state against the reference: what a stream sees is what the masks allow."""

import pytest
import torch

from museformer_plugin.fc_attention import BarCache, BarLayout, UpcomingBar
from museformer_plugin.fc_attention.reference import dense_masks, masked_attention

LAYERS, HEADS, WIDTH = 2, 2, 4


@pytest.fixture(params=[False, True], ids=["each_alone", "padded"])
def new_cache(request):
    """``BarCache``, as on a CPU and as on a GPU."""
    return lambda structure_bars, coarse, expected=1: BarCache(
        structure_bars, coarse, padded=request.param, expected=expected
    )


class Piece:
    """One piece with random queries, keys and values of its tokens and summaries."""

    def __init__(self, bars, structure_bars, coarse, seed):
        generator = torch.Generator().manual_seed(seed)
        self.bars = bars
        self.layout = BarLayout.build([bars], structure_bars, coarse)
        shape = (LAYERS, 2, HEADS)

        def draw(*size):
            return torch.randn(*size, dtype=torch.float64, generator=generator)

        self.queries = draw(LAYERS, HEADS, bars.num_tokens, WIDTH)
        self.token_rows = draw(*shape, bars.num_tokens, WIDTH)
        self.summary_rows = draw(*shape, bars.num_complete, WIDTH) if coarse else None

    def round_to(self, dtype):
        self.queries, self.token_rows, self.summary_rows = (
            rows.to(dtype) for rows in (self.queries, self.token_rows, self.summary_rows)
        )

    def expected(self):
        """x' of every token, [L, T, H, Dh]."""
        token_mask, _ = dense_masks(self.layout)
        outputs = []
        for layer in range(LAYERS):
            rows = self.token_rows[layer]
            if self.summary_rows is not None:
                rows = torch.cat([self.summary_rows[layer], rows], dim=2)
            keys, values = rows.transpose(1, 2)
            outputs.append(masked_attention(self.queries[layer].transpose(0, 1), keys, values, token_mask))
        return torch.stack(outputs)

    def prompt(self, length, piece_of):
        """The first ``length`` tokens as add_stream takes them."""
        ends = [*self.bars.starts[1:].tolist(), self.bars.num_tokens][: self.bars.num_complete]
        complete = sum(end <= length for end in ends)
        starts = [start for start in self.bars.starts.tolist() if start < length]
        lengths = [end - start for start, end in zip(starts, [*starts[1:], length])]
        numbers = self.bars.bar_numbers[: len(starts)]
        repeated = self.bars.repeated_bars[: len(starts)]
        bars = piece_of(lengths, last_is_complete=complete == len(starts), numbers=numbers, repeats=repeated)
        summaries = None if self.summary_rows is None else self.summary_rows[:, :, :, :complete]
        told = [UpcomingBar(*bar) for bar in zip(self.bars.bar_numbers.tolist(), self.bars.repeated_bars.tolist())]
        return bars, self.token_rows[:, :, :, :length], summaries, told[len(starts) :]

    def ends_bar(self, place):
        """The number of the bar, from 0, that token ``place`` ends; None when it ends none."""
        ends = [*(self.bars.starts[1:] - 1).tolist(), self.bars.num_tokens - 1][: self.bars.num_complete]
        return ends.index(place) if place in ends else None


def step(cache, pieces, places):
    """Feed token ``places[n]`` of ``pieces[n]`` to stream n; x' by layer, [L, B, H, Dh]."""
    cache.begin_step()
    visible = cache.visible()
    outputs = []
    for layer in range(LAYERS):
        q = torch.stack([p.queries[layer, :, t] for p, t in zip(pieces, places)])
        k, v = (torch.stack([p.token_rows[layer, part, :, t] for p, t in zip(pieces, places)]) for part in (0, 1))
        outputs.append(cache.attend(layer, q, k, v, visible))
    cache.advance()
    cache.end_step()
    for number, (piece, place) in enumerate(zip(pieces, places)):
        bar = piece.ends_bar(place)
        if bar is not None:
            summary = None if piece.summary_rows is None else piece.summary_rows[:, :, :, bar : bar + 1]
            cache.end_bar(number, summary)
    return torch.stack(outputs)


@pytest.mark.parametrize("coarse", [True, False], ids=["coarse", "no_coarse"])
@pytest.mark.parametrize("structure_bars", [(1, 2, 4), (2,), ()], ids=str)
@pytest.mark.parametrize("prompt", [1, 3, 4, 5, 9], ids=lambda n: f"prompt_of_{n}")
def test_each_step_sees_what_the_masks_allow(piece_of, structure_bars, coarse, prompt, new_cache):
    piece = Piece(piece_of([3, 1, 4, 1, 1, 5, 2, 3], last_is_complete=False), structure_bars, coarse, seed=0)
    cache = new_cache(structure_bars, coarse)
    cache.add_stream(*piece.prompt(prompt, piece_of))
    expected = piece.expected()
    for place in range(prompt, piece.bars.num_tokens):
        found = step(cache, [piece], [place])
        torch.testing.assert_close(found[:, 0], expected[:, place], rtol=0, atol=1e-12)


@pytest.mark.parametrize("coarse", [True, False], ids=["coarse", "no_coarse"])
@pytest.mark.parametrize("structure_bars", [(1, 2), (-1, 0, 3), (-4,), ()], ids=str)
@pytest.mark.parametrize("repeats", [None, [-1, -1, 0, 1, 0, 4, 2, 0]], ids=["no_repeats", "repeats"])
@pytest.mark.parametrize("prompt", [1, 4, 9])
def test_bars_that_are_not_numbered_in_order(piece_of, structure_bars, coarse, prompt, repeats, new_cache):
    """What is to come is told at the beginning, and no bar that it needs is dropped."""
    numbers = [1, 2, 6, 7, 3, 4, 5, 5]
    bars = piece_of([3, 1, 4, 1, 2, 5, 2, 3], last_is_complete=False, numbers=numbers, repeats=repeats)
    piece = Piece(bars, structure_bars, coarse, seed=0)
    cache = new_cache(structure_bars, coarse)
    cache.add_stream(*piece.prompt(prompt, piece_of))
    expected = piece.expected()
    for place in range(prompt, piece.bars.num_tokens):
        assert cache.bar_numbers.tolist() == [piece.layout.bar_ids[place]]
        found = step(cache, [piece], [place])
        torch.testing.assert_close(found[:, 0], expected[:, place], rtol=0, atol=1e-12)


def test_bars_go_on_one_by_one(piece_of, new_cache):
    """Behind those that are told, and where nothing is."""
    piece = Piece(piece_of([2, 2, 2, 2], numbers=[3, 1, 7, 8]), (1,), True, seed=0)
    for prompt, told in ((1, [3, 1, 7, 8, 9]), (3, [1, 7, 8, 9]), (4, [7, 8, 9])):
        cache = new_cache((1,), True)
        cache.add_stream(*piece.prompt(prompt, piece_of)[:3], [UpcomingBar(number) for number in told[:-2]])
        found = []
        for place in range(prompt, piece.bars.num_tokens):
            found += cache.bar_numbers.tolist()
            step(cache, [piece], [place])
        assert found + cache.bar_numbers.tolist() == [*piece.layout.bar_ids[prompt:], 9]
    cache = new_cache((1,), True, expected=2)
    for prompt in (1, piece.bars.num_tokens):
        cache.add_stream(*piece.prompt(prompt, piece_of)[:3])
    assert cache.bar_numbers.tolist() == [1, 9]


@pytest.mark.parametrize("coarse", [True, False], ids=["coarse", "no_coarse"])
def test_streams_at_different_bars_do_not_disturb_each_other(piece_of, coarse, new_cache):
    structure_bars = (1, 3)
    pieces = [
        Piece(piece_of(lengths), structure_bars, coarse, seed)
        for seed, lengths in enumerate([[3, 1, 4, 1, 6], [1] * 15, [20], [2, 2, 2, 2, 2, 2, 2]])
    ]
    prompts = [1, 4, 7, 3]
    cache = new_cache(structure_bars, coarse)
    for piece, prompt in zip(pieces, prompts):
        cache.add_stream(*piece.prompt(prompt, piece_of))
    expected = [piece.expected() for piece in pieces]
    for offset in range(11):
        places = [prompt + offset for prompt in prompts]
        found = step(cache, pieces, places)
        for number, place in enumerate(places):
            torch.testing.assert_close(found[:, number], expected[number][:, place], rtol=0, atol=1e-12)


def test_the_buffer_grows_without_losing_a_row(piece_of, new_cache):
    """One bar longer than the room that a buffer gains at a time."""
    piece = Piece(piece_of([4, 600]), (1,), True, seed=0)
    cache = new_cache((1,), True)
    cache.add_stream(*piece.prompt(2, piece_of))
    expected = piece.expected()
    for place in range(2, piece.bars.num_tokens):
        found = step(cache, [piece], [place])
        torch.testing.assert_close(found[:, 0], expected[:, place], rtol=0, atol=1e-12)


def test_select_repeats_drops_and_reorders(piece_of, new_cache):
    structure_bars = (1, 2)
    pieces = [Piece(piece_of([2, 3, 1, 4, 2, 3]), structure_bars, True, seed) for seed in range(3)]
    prompts = [3, 5, 7]
    cache = new_cache(structure_bars, True)
    for piece, prompt in zip(pieces, prompts):
        cache.add_stream(*piece.prompt(prompt, piece_of))
    order = [2, 0, 0]
    cache.select(order)
    assert len(cache) == 3
    for offset in range(6):
        places = [prompts[number] + offset for number in order]
        found = step(cache, [pieces[number] for number in order], places)
        for row, number in enumerate(order):
            expected = pieces[number].expected()[:, prompts[number] + offset]
            torch.testing.assert_close(found[:, row], expected, rtol=0, atol=1e-12)


def test_twins_part(piece_of, new_cache):
    """Two streams made of one by select go on with different tokens and bars."""
    first = Piece(piece_of([2, 3, 2, 3]), (1, 2), True, seed=0)
    second = Piece(piece_of([2, 1, 4, 3]), (1, 2), True, seed=1)
    for rows in ("token_rows", "queries"):  # the same first bar
        getattr(second, rows)[..., :3, :] = getattr(first, rows)[..., :3, :]
    second.summary_rows[..., :1, :] = first.summary_rows[..., :1, :]
    cache = new_cache((1, 2), True)
    cache.add_stream(*first.prompt(3, piece_of))
    cache.select([0, 0])
    pieces = [first, second]
    for place in range(3, 11):
        found = step(cache, pieces, [place, place])
        for row, piece in enumerate(pieces):
            torch.testing.assert_close(found[:, row], piece.expected()[:, place], rtol=0, atol=1e-12)


def test_the_identity_moves_nothing(piece_of, new_cache):
    piece = Piece(piece_of([2, 3]), (1,), True, seed=0)
    cache = new_cache((1,), True)
    for prompt in (3, 4):
        cache.add_stream(*piece.prompt(prompt, piece_of))
    addresses, streams = [cache._buffers.rows_of(number).data_ptr() for number in (0, 1)], cache._streams
    cache.select([0, 1])
    assert [cache._buffers.rows_of(number).data_ptr() for number in (0, 1)] == addresses
    assert cache._streams is streams


@pytest.mark.parametrize(("coarse", "rows_a_bar"), [(False, 0), (True, 8)], ids=["no_coarse", "coarse"])
def test_memory_grows_by_a_summary_a_bar_at_most(piece_of, coarse, rows_a_bar, new_cache):
    """A row a summary, held once by the stream and at most a few times in the buffer that grows with it."""
    piece = Piece(piece_of([5] * 200), (1, 2, 4), coarse, seed=0)
    cache = new_cache((1, 2, 4), coarse)
    cache.add_stream(*piece.prompt(1, piece_of))
    held = []
    for place in range(1, piece.bars.num_tokens):
        step(cache, [piece], [place])
        if piece.ends_bar(place) in (9, 199):
            held.append(cache.num_bytes())
    row = LAYERS * 2 * HEADS * WIDTH * 8
    assert held[1] - held[0] <= 190 * rows_a_bar * row


@pytest.mark.parametrize("coarse", [True, False], ids=["coarse", "no_coarse"])
@pytest.mark.parametrize("prompt", [1, 4, 400], ids=lambda n: f"prompt_of_{n}")
def test_a_stream_takes_the_place_of_another(piece_of, coarse, prompt, new_cache):
    """Also one longer than there is room for, and twice the same; what it was made of stays as it is."""
    structure_bars = (1, 2)
    old = [Piece(piece_of([2, 3, 1, 4]), structure_bars, coarse, seed) for seed in range(3)]
    cache = new_cache(structure_bars, coarse, expected=3)
    for piece in old:
        cache.add_stream(*piece.prompt(3, piece_of))
    new = Piece(piece_of([5, 410, 3, 6]), structure_bars, coarse, seed=7)
    entering = new_cache(structure_bars, coarse)
    entering.add_stream(*new.prompt(prompt, piece_of))
    cache.select([2, 0])
    cache.put(0, entering)
    pieces, places = [new, old[0]], [prompt, 3]
    for offset in range(4):
        if offset == 2:  # its twin comes later, in the place of the other
            cache.put(1, entering)
            pieces[1], places[1] = new, prompt - offset
        found = step(cache, pieces, [place + offset for place in places])
        for number, (piece, place) in enumerate(zip(pieces, places)):
            torch.testing.assert_close(found[:, number], piece.expected()[:, place + offset], rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_what_is_not_finite_leaves_with_its_stream(piece_of, new_cache, dtype):
    """Streams are padded with rows that they do not see: those that others left behind."""
    structure_bars = (1, 2)
    old = Piece(piece_of([30, 40]), structure_bars, True, seed=0)
    old.token_rows[:] = float("nan")
    new, other = (Piece(piece_of(lengths), structure_bars, True, seed=1) for lengths in ([5, 4], [60, 9]))
    for piece in (old, new, other):
        piece.round_to(dtype)
    cache, entering = (new_cache(structure_bars, True) for _ in range(2))
    cache.add_stream(*old.prompt(50, piece_of))
    cache.add_stream(*other.prompt(50, piece_of))
    entering.add_stream(*new.prompt(2, piece_of))
    cache.put(0, entering)
    found = step(cache, [new, other], [2, 50])
    atol = 16 * torch.finfo(dtype).eps
    torch.testing.assert_close(found[:, 0].double(), new.expected()[:, 2].double(), rtol=0, atol=atol)
