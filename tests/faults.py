"""Puts small faults into a copy of the repository, one at a time, and says which of them the tests catch.

    python tests/faults.py               # all of them, first the tests without a fault
    python tests/faults.py 3 17 --count 5  # the first five of these numbers

Not part of ``test.sh``. Exit status 0 when every fault is caught: the tests beside it in the table fail.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parent.parent
SECONDS = 600  # for the tests of one fault, on a busy machine too
PASSED, FAILED = 0, 1  # exit statuses of pytest


class Fault(NamedTuple):
    """``old``, which occurs once in ``file``, becomes ``new``; ``tests``, below ``tests/``, should notice."""

    file: str
    old: str
    new: str
    tests: str


FAULTS = (
    Fault(
        "data_prep/tokens/song.py",
        "round(tick * POSITIONS_PER_QUARTER / ticks_per_quarter)",
        "int(tick * POSITIONS_PER_QUARTER / ticks_per_quarter)",
        "data_prep/tokens/test_song.py",
    ),
    Fault(
        "data_prep/tokens/song.py",
        "if position < last_onset:",
        "if position <= last_onset:",
        "data_prep/tokens/test_song.py",
    ),
    Fault(
        "data_prep/tokens/vocabulary.py",
        "return round(TEMPO_STEPS_PER_OCTAVE",
        "return int(TEMPO_STEPS_PER_OCTAVE",
        "data_prep/tokens/test_vocabulary.py",
    ),
    Fault(
        "data_prep/tokens/encode.py",
        "np.lexsort((-velocity_ids, -duration_ids,",
        "np.lexsort((-duration_ids, -velocity_ids,",
        "data_prep/tokens/test_encode.py",
    ),
    Fault(
        "data_prep/tokens/encode.py",
        "while numerator > 2 * denominator:",
        "while numerator >= 2 * denominator:",
        "data_prep/tokens/test_encode.py",
    ),
    Fault(
        "data_prep/tokens/encode.py",
        'return ids[np.searchsorted(changes, positions, side="right")]',
        'return ids[np.searchsorted(changes, positions, side="left")]',
        "data_prep/tokens/test_encode.py",
    ),
    Fault(
        "data_prep/tokens/decode.py",
        "        self.bar_start += self.bar_length\n        self.onset = 0\n",
        "        self.bar_start += self.bar_length\n",
        "data_prep/tokens/test_decode.py",
    ),
    Fault(
        "data_prep/tokens/note_table.py",
        '_carried(families == ord("o"), values, bar_starts, pitches)',
        '_carried(families == ord("o"), values, first_tokens[pieces] - 1, pitches)',
        "data_prep/test_bar_similarity.py",
    ),
    Fault(
        "data_prep/tokens/grammar.py",
        ".min(initial=1) > 0",
        ".min(initial=1) >= 0",
        "data_prep/tokens/test_grammar.py",
    ),
    Fault(
        "data_prep/similarity/bars.py",
        "(distance <= max_distance)",
        "(distance < max_distance)",
        "data_prep/test_bar_similarity.py",
    ),
    Fault(
        "data_prep/similarity/structure_bars.py",
        "keys=attended * tokens / bars",
        "keys=attended * bars / tokens",
        "data_prep/test_bar_similarity.py",
    ),
    Fault(
        "data_prep/six_track/rules.py",
        "if empty <= MAX_EMPTY_BARS:",
        "if empty < MAX_EMPTY_BARS:",
        "data_prep/six_track/test_prepare_song.py",
    ),
    Fault(
        "data_prep/six_track/roles.py",
        "np.lexsort((-velocity, -duration, pitch,",
        "np.lexsort((-duration, -velocity, pitch,",
        "data_prep/six_track/test_melody.py",
    ),
    Fault(
        "data_prep/six_track/tracks.py",
        "for number, value in sums.items() if number != track.number]",
        "for number, value in sums.items()]",
        "data_prep/six_track/test_melody.py",
    ),
    Fault(
        "data_prep/six_track/grid.py",
        "residual = onsets - shift",
        "residual = onsets + shift",
        "data_prep/six_track/test_grid.py",
    ),
    Fault(
        "data_prep/six_track/prepare_song.py",
        "max(0, position - start): value",
        "abs(position - start): value",
        "data_prep/six_track/test_prepare_song.py",
    ),
    Fault(
        "data_prep/folders/song_lists.py",
        "shared = max(min(",
        "shared = min(min(",
        "data_prep/folders/test_song_lists.py",
    ),
    Fault(
        "data_prep/folders/limited_workers.py",
        "        while True:\n            item = connection.recv()\n",
        "        for item in [connection.recv()]:\n",
        "data_prep/folders/test_limited_workers.py",
    ),
    Fault(
        "data_prep/make_splits.py",
        "edges = [round(len(shuffled)",
        "edges = [int(len(shuffled)",
        "data_prep/test_make_splits.py",
    ),
    Fault(
        "data_prep/tokens_to_midi.py",
        "max(0, note.pitch - 127 + 11)",
        "max(0, note.pitch - 127 + 12)",
        "data_prep/test_tokens_to_midi.py",
    ),
    Fault(
        "data_prep/tokens_to_midi.py",
        "for note in track.notes if not track.is_drum else ():",
        "for note in track.notes:",
        "data_prep/test_tokens_to_midi.py",
    ),
    Fault(
        "museformer_plugin/models/decoder.py",
        "[:, ::-1][:, :count] for piece",
        "[:, -count:] for piece",
        "museformer_plugin/test_decoder.py::test_a_prompt_read_at_once_equals_token_by_token[rotary_preset]",
    ),
    Fault(
        "museformer_plugin/models/decoder.py",
        "        self.latest[:, :, index] = entering.latest[:, :, 0]\n",
        "",
        "museformer_plugin/test_decoder.py::test_a_stream_takes_the_place_of_another",
    ),
    Fault(
        "museformer_plugin/models/full_attention.py",
        "dropout = self.attention_dropout if",
        "dropout = self.dropout if",
        "museformer_plugin/test_decoder.py::test_dropout_acts_in_training_alone",
    ),
    Fault(
        "museformer_plugin/models/museformer.py",
        "torch.stack([self.place(rows[:, 0], by), rows[:, 1]], 1)",
        "torch.stack([rows[:, 0], rows[:, 1]], 1)",
        "museformer_plugin/test_decoder.py::test_a_prompt_read_at_once_equals_token_by_token[qk_norm]",
    ),
    Fault(
        "museformer_plugin/positions.py",
        "return Positions(bars, start, start, start)",
        "return Positions(bars, bars, bars, bars)",
        "museformer_plugin/test_token_families.py::test_summaries_stand_where_their_bars_begin",
    ),
    Fault(
        "museformer_plugin/stream_positions.py",
        "np.where(ended, 0, onsets)",
        "onsets",
        "museformer_plugin/test_token_families.py",
    ),
    Fault(
        "museformer_plugin/stream_positions.py",
        "        self._upcoming[index] = entering._upcoming[0]\n",
        "",
        "museformer_plugin/test_token_families.py",
    ),
    Fault(
        "museformer_plugin/token_families.py",
        "first_bar + np.arange(len(starts))",
        "1 + np.arange(len(starts))",
        "museformer_plugin/test_window_batches.py::test_bars_and_beats_are_those_of_the_piece",
    ),
    Fault(
        "museformer_plugin/dataset.py",
        "dictionary.eos() if first_bar == 1 else",
        "dictionary.eos() if first_bar >= 1 else",
        "museformer_plugin/test_window_batches.py::test_a_window_is_its_part_of_the_piece",
    ),
    Fault(
        "museformer_plugin/windows.py",
        "ends[ends < len(targets) - 1]",
        "ends[ends < len(targets)]",
        "museformer_plugin/test_windows.py",
    ),
    Fault(
        "museformer_plugin/windows.py",
        "if size <= room[number]",
        "if size < room[number]",
        "museformer_plugin/test_windows.py",
    ),
    Fault(
        "museformer_plugin/window_batches.py",
        "default_rng([self.seed, epoch])",
        "default_rng(self.seed)",
        "museformer_plugin/test_window_batches.py::test_epochs_differ_and_repeat_with_their_seed",
    ),
    Fault(
        "museformer_plugin/window_batches.py",
        "return math.ceil(self._first_update",
        "return int(self._first_update",
        "museformer_plugin/test_window_batches.py",
    ),
    Fault(
        "museformer_plugin/generator.py",
        "positional.sum() / max(1, len(self.scores))",
        "positional.sum() / max(1, len(self.tokens))",
        "museformer_plugin/test_generator.py::test_scores_are_the_models_log_probabilities[six_track-0]",
    ),
    Fault(
        "museformer_plugin/generator.py",
        "if self._latest is None or self._latest[0] != tokens:",
        "if self._latest is None:",
        "museformer_plugin/test_generator.py::test_scores_are_the_models_log_probabilities[six_track-1]",
    ),
    Fault(
        "museformer_plugin/piece_rules.py",
        "allowed[:, eos] = lengths + 1 >= self.min_len",
        "allowed[:, eos] = lengths + 2 >= self.min_len",
        "museformer_plugin/test_generator.py::test_the_end_may_come_from_the_least_length_on",
    ),
    Fault(
        "museformer_plugin/piece_rules.py",
        "closing = lengths + TOKENS_TO_CLOSE >= self.max_len",
        "closing = lengths + TOKENS_TO_CLOSE > self.max_len",
        "museformer_plugin/test_generator.py::test_prompts_that_leave_just_enough_room_are_closed",
    ),
    Fault(
        "museformer_plugin/grammar.py",
        "torch.where(self._rises, self.latest + 1,",
        "torch.where(self._rises, self.latest,",
        "museformer_plugin/test_grammar.py",
    ),
    Fault(
        "museformer_plugin/sampling.py",
        "probs.cumsum(dim=-1) - probs >= options.topp",
        "probs.cumsum(dim=-1) >= options.topp",
        "museformer_plugin/test_sampling.py",
    ),
    Fault(
        "museformer_plugin/family_temperatures.py",
        "sharpened + before - after, found",
        "sharpened, found",
        "museformer_plugin/test_family_temperatures.py",
    ),
    Fault(
        "museformer_plugin/muon.py",
        "math.sqrt(max(1, rows / cols))",
        "math.sqrt(max(1, cols / rows))",
        "museformer_plugin/test_muon.py",
    ),
    Fault(
        "museformer_plugin/muon.py",
        "            cfg.muon_weight_decay,\n            cfg.weight_decay,\n",
        "            cfg.weight_decay,\n            cfg.muon_weight_decay,\n",
        "museformer_plugin/test_muon.py",
    ),
    Fault(
        "museformer_plugin/rotary.py",
        "(positions.bars, positions.onsets, positions.indices)",
        "(positions.bars, positions.indices, positions.onsets)",
        "museformer_plugin/test_rotary.py",
    ),
    Fault(
        "museformer_plugin/embedding.py",
        "(indices_in_piece[k:] >= k)",
        "(indices_in_piece[k:] > k)",
        "museformer_plugin/test_decoder.py::test_a_prompt_read_at_once_equals_token_by_token[previous_tokens]",
    ),
    Fault(
        "museformer_plugin/layer.py",
        "self.weight.param_group = HiddenMatrices(3)",
        "self.weight.param_group = HiddenMatrices()",
        "museformer_plugin/test_muon.py::test_the_model_marks_its_hidden_matrices",
    ),
    Fault(
        "museformer_plugin/export_checkpoint.py",
        "tensor.to(torch.float16, copy=True)",
        "tensor.to(torch.bfloat16, copy=True)",
        "museformer_plugin/test_export_checkpoint.py::test_weights_that_float16_cannot_hold_are_refused",
    ),
    Fault(
        "museformer_plugin/convert_checkpoint.py",
        'take("embed_summary_tokens.weight")[1]',
        'take("embed_summary_tokens.weight")[0]',
        "museformer_plugin/test_decoder.py::test_logits_are_those_of_the_original_in_float64[six_track__duo_0]",
    ),
    Fault(
        "museformer_plugin/convert_checkpoint.py",
        "ranges.append((1 - last,",
        "ranges.append((-last,",
        "museformer_plugin/test_convert_checkpoint.py::test_schemes",
    ),
    Fault(
        "museformer_plugin/fc_attention/plan.py",
        "own = end_key - end  # from",
        "own = first_key - first  # from",
        "museformer_plugin/fc_attention/test_plan.py::test_shorter_segments_see_the_same",
    ),
    Fault(
        "museformer_plugin/fc_attention/layout.py",
        "if number - number_of_other in self.structure:",
        "if abs(number - number_of_other) in self.structure:",
        "museformer_plugin/fc_attention/test_layout.py",
    ),
    Fault(
        "museformer_plugin/fc_attention/cpu/head.py",
        "triu_(left)",
        "triu_(left + 1)",
        "museformer_plugin/fc_attention/test_plan.py::test_outputs_and_gradients_are_those_of_the_dense_mask",
    ),
    Fault(
        "museformer_plugin/fc_attention/cpu/head.py",
        ".tril_(left - 1), float",
        ".tril_(left), float",
        "museformer_plugin/fc_attention/test_plan.py::test_scores_too_large_for_exp",
    ),
    Fault(
        "museformer_plugin/fc_attention/cpu/operator.py",
        "manual_seed(step.seed + head)",
        "manual_seed(step.seed)",
        "museformer_plugin/fc_attention/test_cpu.py::test_heads_and_segments_do_not_share_their_dropout",
    ),
    Fault(
        "museformer_plugin/fc_attention/cpu/summary.py",
        "torch.softmax(torch.cat([own, others], 1) * q.shape[1] ** -0.5, 1)",
        "torch.softmax(torch.cat([own, others], 1), 1)",
        "museformer_plugin/fc_attention/test_cpu.py::test_outputs_and_gradients_are_those_of_the_reference",
    ),
    Fault(
        "museformer_plugin/fc_attention/cpu/tiles.py",
        "and end <= num_summaries:",
        "and start <= num_summaries:",
        "museformer_plugin/fc_attention/test_cpu.py::test_what_is_not_finite_reaches_no_bar_before_it_and_no_other_piece",
    ),
    Fault(
        "museformer_plugin/fc_attention/cpu/bfloat16.py",
        "        before += end - start\n",
        "",
        "museformer_plugin/fc_attention/test_plan.py::test_error_is_at_most_twice_that_of_eager_code",
    ),
    Fault(
        "museformer_plugin/fc_attention/triton/forward.py",
        "b_sum = b_sum * b_shrink + tl.sum(b_p, 1)",
        "b_sum = b_sum + tl.sum(b_p, 1)",
        "museformer_plugin/fc_attention/triton/test_kernels.py::test_outputs_and_gradients[paper_42_bars-H1-D32]",
    ),
    Fault(
        "museformer_plugin/fc_attention/triton/backward.py",
        "b_dk *= scale * _LN_2",
        "b_dk *= scale",
        "museformer_plugin/fc_attention/triton/test_kernels.py::test_outputs_and_gradients[one_token_bars-H3-D24]",
    ),
    Fault(
        "museformer_plugin/fc_attention/triton/summary.py",
        "        b_out *= keep_scale\n",
        "        b_out *= 1.0\n",
        "museformer_plugin/fc_attention/triton/test_dropout.py",
    ),
    Fault(
        "museformer_plugin/fc_attention/triton/primitives.py",
        "o_key[None, :] >= (left +",
        "o_key[None, :] > (left +",
        "museformer_plugin/fc_attention/triton/test_kernels.py::test_left_edges_that_move",
    ),
    Fault(
        "museformer_plugin/fc_attention/cache.py",
        "twin.bars = list(self.bars)",
        "twin.bars = self.bars",
        "museformer_plugin/fc_attention/test_cache.py::test_twins_part",
    ),
    Fault(
        "museformer_plugin/fc_attention/cache.py",
        "numbers.append(numbers[-1] + 1 if numbers else 1)",
        "numbers.append(len(numbers) + 1)",
        "museformer_plugin/fc_attention/test_cache.py",
    ),
    Fault(
        "museformer_plugin/fc_attention/cache_buffers.py",
        "min(-(-(self._longest + 1) // _PADDED_GROWTH)",
        "min(-(-self._longest // _PADDED_GROWTH)",
        "museformer_plugin/fc_attention/test_cache.py",
    ),
    Fault(
        "museformer_plugin/fc_attention/cache_buffers.py",
        "        self._hidden[:, :, length] = 0\n",
        "",
        "museformer_plugin/test_writing_in_bfloat16.py::test_error_is_at_most_twice_that_of_eager_code",
    ),
    Fault(
        "evaluation/bootstrap.py",
        "tail = 100 * (1 - CONFIDENCE) / 2",
        "tail = 100 * (1 - CONFIDENCE)",
        "evaluation/test_bootstrap.py",
    ),
    Fault(
        "evaluation/copying.py",
        'np.searchsorted(self._starts, end, side="right")',
        'np.searchsorted(self._starts, end, side="left")',
        "evaluation/test_copying.py",
    ),
    Fault(
        "evaluation/musical_features.py",
        "np.maximum(lengths[neighbours], lengths[neighbours + 1])",
        "np.minimum(lengths[neighbours], lengths[neighbours + 1])",
        "evaluation/test_musical_features.py",
    ),
    Fault(
        "evaluation/grammar_errors.py",
        "values[after + part] > values[before + part]",
        "values[after + part] >= values[before + part]",
        "evaluation/test_grammar_errors.py",
    ),
    Fault(
        "evaluation/bar_repeats.py",
        "nearest >= VARIED",
        "nearest > VARIED",
        "evaluation/test_bar_repeats.py",
    ),
    Fault(
        "evaluation/similarity.py",
        "columns[:, :, t - 2 : t + 1]",
        "columns[:, :, t - 1 : t + 2]",
        "evaluation/test_similarity.py",
    ),
    Fault(
        "evaluation/perplexity.py",
        "losses[:length].sum()",
        "losses[: length - 1].sum()",
        "evaluation/test_perplexity.py",
    ),
)


def copy_repository(folder: Path) -> None:
    """All files that git does not ignore, as they are in the working tree, and a link to ``.venv``."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=REPOSITORY, capture_output=True, check=True, text=True).stdout.split("\0")
    for name in filter(None, names):
        if (REPOSITORY / name).is_file():  # and not removed since the last commit
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name)
    (folder / ".venv").symlink_to((REPOSITORY / ".venv").resolve())


def status_of(folder: Path, tests: list[str]) -> int | None:
    """The exit status of pytest; None when the time is over."""
    # modules compiled with one fault are not those of the next, which may come within the same second
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", *(f"tests/{test}" for test in tests)]
    try:
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=SECONDS).returncode
    except subprocess.TimeoutExpired:
        return None


def outcome_of(fault: Fault, folder: Path) -> str:
    """``caught``, ``survived``, or why nothing can be said."""
    path = folder / fault.file
    text = path.read_text()
    if text.count(fault.old) != 1:
        return f"not run: its text is there {text.count(fault.old)} times"
    path.write_text(text.replace(fault.old, fault.new))
    status = status_of(folder, fault.tests.split())
    path.write_text(text)
    return {PASSED: "survived", FAILED: "caught", None: "not known: too slow"}.get(
        status, f"not known: pytest {status}"
    )


def main() -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("numbers", type=int, nargs="*", metavar="NUMBER", help="of a fault, from 1 (default: all)")
    parser.add_argument("--count", type=int, help="how many of these, from the first on")
    options = parser.parse_args()
    chosen = (options.numbers or range(1, len(FAULTS) + 1))[: options.count]
    outcomes = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        copy_repository(folder)
        tests = dict.fromkeys(test for number in chosen for test in FAULTS[number - 1].tests.split())
        if status_of(folder, sorted(tests)) != PASSED:
            print("The tests fail without a fault, or are not there.")
            return 1
        for number in chosen:
            fault = FAULTS[number - 1]
            outcomes.append(outcome_of(fault, folder))
            print(f"{number:3}  {outcomes[-1]:10} {fault.file}: {fault.old.strip()} -> {fault.new.strip()}", flush=True)
    print(f"{outcomes.count('caught')} of {len(outcomes)} caught")
    return 0 if outcomes.count("caught") == len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
