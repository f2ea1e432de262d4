"""The reference by its meaning: against sums written out by hand, in float64."""

import math

import pytest
import torch

from museformer_plugin.fc_attention import BarLayout
from museformer_plugin.fc_attention.reference import fc_attention_reference, masked_attention


def attend_by_hand(query, keys, values):
    """One head: softmax(query . keys / sqrt(Dh)) values, term by term; vectors [Dh]."""
    weights = [math.exp(float(query @ key) / math.sqrt(len(query))) for key in keys]
    return sum(weight * value for weight, value in zip(weights, values)) / sum(weights)


def by_hand(tokens, summaries, summary_kv_weight, sees, bar_of_summary):
    """s' and x' [rows, H, Dh]; ``sees[t]`` = (summaries, tokens) that token t sees."""
    (q_x, k_x, v_x), (q_s, k_s, v_s) = tokens, summaries
    heads, width = q_x.shape[1:]

    def attend(query, keys, values, head):
        return attend_by_hand(query[head], [k[head] for k in keys], [v[head] for v in values])

    s = [
        torch.stack([attend(q_s[j], [k_s[j], *k_x[bar]], [v_s[j], *v_x[bar]], head) for head in range(heads)])
        for j, bar in enumerate(bar_of_summary)
    ]
    k2, v2 = [], []
    for row in s:
        both = summary_kv_weight @ row.flatten()
        k2.append(both[: heads * width].view(heads, width))
        v2.append(both[heads * width :].view(heads, width))
    x = []
    for t, (coarse, fine) in enumerate(sees):
        keys = [k2[j] for j in coarse] + [k_x[u] for u in fine]
        values = [v2[j] for j in coarse] + [v_x[u] for u in fine]
        x.append(torch.stack([attend(q_x[t], keys, values, head) for head in range(heads)]))
    return torch.stack(x), torch.stack(s) if s else None


# Three bars of two tokens, the last one incomplete: prefix 0, bars [1, 2], [3, 4], [5].
FINE_ONLY = [((), (0,)), ((), (0, 1)), ((), (0, 1, 2)), ((), (0, 1, 2, 3)), ((), (0, 1, 2, 3, 4)), ((), range(6))]
COARSE_ONLY = [((), (0,)), ((), (0, 1)), ((), (0, 1, 2)), ((0,), (0, 3)), ((0,), (0, 3, 4)), ((0, 1), (0, 5))]
JOINT = [((), (0,)), ((), (0, 1)), ((), (0, 1, 2)), ((), (0, 1, 2, 3)), ((), (0, 1, 2, 3, 4)), ((0,), (0, 3, 4, 5))]


@pytest.mark.parametrize(
    ("structure_bars", "sees"),
    [((1, 2), FINE_ONLY), ((), COARSE_ONLY), ((1,), JOINT)],
    ids=["fine_only", "coarse_only", "one_joint_softmax"],
)
def test_three_bars(piece_of, draw_inputs, structure_bars, sees):
    layout = BarLayout.build([piece_of([2, 2, 1], last_is_complete=False)], structure_bars)
    inputs = draw_inputs(layout)
    with torch.no_grad():
        x, s = fc_attention_reference(*inputs, layout)
        expected_x, expected_s = by_hand(*inputs, sees, [slice(1, 3), slice(3, 5)])
    torch.testing.assert_close(x, expected_x, rtol=0, atol=1e-12)
    torch.testing.assert_close(s, expected_s, rtol=0, atol=1e-12)


# Bars of two tokens with the numbers 1, 4, 2, the last one incomplete: prefix 0, bars [1, 2], [3, 4], [5].
FROM_BEHIND = [((), (0,)), ((), (0, 1)), ((), (0, 1, 2)), ((0,), (0, 3)), ((0,), (0, 3, 4)), ((0,), (0, 3, 4, 5))]
NO_STRUCTURE = [((), (0,)), ((), (0, 1)), ((), (0, 1, 2)), ((0,), (0, 3)), ((0,), (0, 3, 4)), ((0, 1), (0, 5))]


@pytest.mark.parametrize(
    ("structure_bars", "sees"), [((-2,), FROM_BEHIND), ((2, -3), NO_STRUCTURE)], ids=["from_behind", "none"]
)
def test_bars_written_after_one_that_sounds_later(piece_of, draw_inputs, structure_bars, sees):
    layout = BarLayout.build([piece_of([2, 2, 1], last_is_complete=False, numbers=[1, 4, 2])], structure_bars)
    inputs = draw_inputs(layout)
    with torch.no_grad():
        x, s = fc_attention_reference(*inputs, layout)
        expected_x, expected_s = by_hand(*inputs, sees, [slice(1, 3), slice(3, 5)])
    torch.testing.assert_close(x, expected_x, rtol=0, atol=1e-12)
    torch.testing.assert_close(s, expected_s, rtol=0, atol=1e-12)


def test_one_bar_has_a_summary_that_nothing_sees(piece_of, draw_inputs):
    layout = BarLayout.build([piece_of([3])], (1,))
    inputs = draw_inputs(layout)
    with torch.no_grad():
        x, s = fc_attention_reference(*inputs, layout)
        expected_x, expected_s = by_hand(*inputs, [((), range(t + 1)) for t in range(4)], [slice(1, 4)])
    torch.testing.assert_close(x, expected_x, rtol=0, atol=1e-12)
    torch.testing.assert_close(s, expected_s, rtol=0, atol=1e-12)


def test_one_token_bars(piece_of, draw_inputs):
    layout = BarLayout.build([piece_of([1, 1, 1, 1])], (2,))
    sees = [((), (0,)), ((), (0, 1)), ((0,), (0, 2)), ((1,), (0, 1, 3)), ((0, 2), (0, 2, 4))]
    inputs = draw_inputs(layout)
    with torch.no_grad():
        x, s = fc_attention_reference(*inputs, layout)
        expected_x, expected_s = by_hand(*inputs, sees, [slice(t, t + 1) for t in range(1, 5)])
    torch.testing.assert_close(x, expected_x, rtol=0, atol=1e-12)
    torch.testing.assert_close(s, expected_s, rtol=0, atol=1e-12)


def test_the_prefix_sees_itself_alone(draw_inputs, layout):
    tokens, summaries, weight = draw_inputs(layout)
    x, _ = fc_attention_reference(tokens, summaries, weight, layout)
    start = 0
    for piece in layout.pieces:
        torch.testing.assert_close(x[start], tokens[2][start], rtol=0, atol=1e-12)
        start += piece.num_tokens


def test_masked_attention_is_scaled_by_the_head_width():
    q = torch.tensor([[[2.0, 0.0, 0.0, 0.0]]], dtype=torch.float64)
    k = torch.tensor([[[1.0, 0, 0, 0]], [[0.0, 0, 0, 0]], [[9.0, 0, 0, 0]]], dtype=torch.float64)
    v = torch.tensor([[[1.0, 0, 0, 0]], [[0.0, 1, 0, 0]], [[0.0, 0, 1, 0]]], dtype=torch.float64)
    out = masked_attention(q, k, v, torch.tensor([[True, True, False]]))
    first = math.e / (math.e + 1)  # scores 2 * 1 / sqrt(4) = 1 and 0
    torch.testing.assert_close(out[0, 0], torch.tensor([first, 1 - first, 0, 0], dtype=torch.float64))
