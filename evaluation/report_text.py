"""A scorecard in words: the markdown of ``report.md``, out of what ``report.json`` holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

FORMAT = 1  # of report.json
UNKNOWN = "–"
FEATURE_NAMES = {
    "pitch_class_entropy": "pitch-class entropy (bits)",
    "groove_consistency": "groove consistency",
    "scale_consistency": "scale consistency",
    "empty_bar_rate": "empty-bar rate",
    "notes_a_bar": "notes a bar",
}


def shown(estimate: dict[str, Any] | None, digits: int) -> str:
    """An estimate with its interval: ``1.35 [1.30, 1.41]``; a dash for an unknown one."""
    if estimate is None or estimate["value"] is None:
        return UNKNOWN
    if estimate["low"] is None:
        return f"{estimate['value']:.{digits}f}"
    return f"{estimate['value']:.{digits}f} [{estimate['low']:.{digits}f}, {estimate['high']:.{digits}f}]"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A markdown table, its first column to the left and numbers to the right."""
    yield f"| {' | '.join(header)} |"
    yield f"|---{'|---:' * (len(header) - 1)}|"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


def report_text(scores: dict[str, Any], rolls: Sequence[str]) -> str:
    """The whole report; ``rolls`` are the piano rolls drawn, without ``.png``."""
    parts = (_head, _perplexity, _similarity, _grammar, _features, _bleu, _copying)
    lines = [line for part in parts for line in (*part(scores), "")]
    return "\n".join([*lines, *_pictures(rolls)]) + "\n"


def _head(scores: dict[str, Any]) -> Iterator[str]:
    model, options, generated = scores["model"], scores["options"], scores["generated"]
    bars = ",".join(map(str, model["structure_bars"])) or "none"
    yield f"# Scorecard of {model['checkpoint']}"
    yield ""
    yield (
        f"- Model: {model['parameters']:,} parameters, {model['updates'] or 'an unknown number of'} updates, structure "
        f"bars {bars}, coarse-grained attention {'on' if model['coarse_attention'] else 'off'}, trained with seed "
        f"{model['training_seed']}."
    )
    data = scores["data"]
    yield (
        f"- Data: {data['representation']}, {data['training_pieces']:,} training and {data['test_pieces']:,} test "
        f"pieces."
    )
    yield (
        f"- Generated: {generated['pieces']:,} pieces, {generated['continuations']:,} of them continuations; the "
        f"model wrote {generated['tokens']:,} tokens. Prompts count in no measure."
    )
    yield (
        f"- Brackets: {100 * scores['confidence']:.0f} % bootstrap intervals over pieces ({options['replicates']} "
        f"replicates, seed {options['seed']}). They say nothing of what training with another seed would give."
    )


def _perplexity(scores: dict[str, Any]) -> Iterator[str]:
    yield "## Perplexity of the test pieces"
    yield ""
    yield "On the first N tokens of each piece, shorter pieces whole, weighted by token."
    yield ""
    rows = (
        [f"{int(length):,}", shown(entry, 2), f"{entry['bits']:.3f}", f"{entry['tokens']:,}"]
        for length, entry in scores["perplexity"].items()
    )
    yield from table(["N", "perplexity", "bits a token", "tokens"], rows)


def _similarity(scores: dict[str, Any]) -> Iterator[str]:
    errors = scores["similarity_error_percent"]
    yield "## Similarity error in percent"
    yield ""
    yield f"Mean over t = 1 ... 40 of |L_t - L_t(training)|. The paper's figure is that of track {next(iter(errors))}."
    yield "*Chance* is as many training pieces drawn at random: what a model as good as the training set gets."
    yield ""
    rows = (
        [track, *(shown(entry[name], 2) for name in ("generated", "test", "chance"))] for track, entry in errors.items()
    )
    yield from table(["track", "generated", "test pieces", "chance"], rows)
    for track in errors:
        yield ""
        yield f"![L_t of track {track}](similarity_{track}.png)"


def _grammar(scores: dict[str, Any]) -> Iterator[str]:
    names = {"constrained": "GENERATED_DIR", "unconstrained": "NO_GRAMMAR_DIR, sampled without the constraint"}
    yield "## Grammar errors per 1,000 tokens"
    yield ""
    rows = (
        [name, shown(entry, 3), f"{entry['pieces_without']:,} of {entry['pieces']:,}"]
        if entry
        else [name, UNKNOWN, UNKNOWN]
        for name, entry in ((names[kind], scores["grammar_errors"][kind]) for kind in names)
    )
    yield from table(["pieces of", "errors per 1,000 tokens", "pieces without error"], rows)


def _features(scores: dict[str, Any]) -> Iterator[str]:
    yield "## Musical features"
    yield ""
    yield "Means over pieces, by MusPy's definitions; a difference whose interval holds 0 is not shown to be one."
    yield ""
    rows = []
    for name, entry in scores["features"].items():
        value = entry["difference"]["value"]
        distance = UNKNOWN if value is None else f"{abs(value):.3f}"
        rows.append(
            [
                FEATURE_NAMES[name],
                shown(entry["generated"], 3),
                shown(entry["test"], 3),
                distance,
                shown(entry["difference"], 3),
            ]
        )
    yield from table(["", "generated", "test", "\\|generated - test\\|", "generated - test"], rows)


def _bleu(scores: dict[str, Any]) -> Iterator[str]:
    weights = ", ".join(f"{weight:g}" for weight in scores["options"]["bleu_weights"])
    yield "## BLEU"
    yield ""
    yield f"Tokens as words, weights of the n-gram orders {weights}."
    yield ""
    bleu, own = scores["bleu"], scores["self_bleu"]
    counted = f"{bleu['pieces']} continuations" if bleu else "no piece continues a known one"
    sampled = f"{own['pieces']} pieces of each" if own else "less than two pieces"
    rows = [
        ["continuations against the real ones", shown(bleu, 2), counted],
        ["self-BLEU of generated pieces", shown(own and own["generated"], 2), sampled],
        ["self-BLEU of test pieces", shown(own and own["test"], 2), sampled],
    ]
    yield from table(["", "BLEU", "of"], rows)


def _copying(scores: dict[str, Any]) -> Iterator[str]:
    yield "## Longest run of bars copied from the training set"
    yield ""
    yield "Bars with notes, in a row equal to bars in a row of one training piece; mean over pieces, and the longest."
    yield ""
    rows, places = [], []
    for track, entry in scores["copied_bars"].items():
        longest = entry["longest"]
        rows.append([track, shown(entry["generated"], 2), str(longest["length"])])
        rows.append([f"{track}, test pieces", shown(entry["test"], 2), str(entry["longest_test"])])
        if longest["length"]:
            places.append(
                f"The longest of track {track}: {longest['piece']}, from bar {longest['bar'] + 1} of what the model "
                f"wrote, is training piece {longest['source'] + 1} from bar {longest['source_bar'] + 1}."
            )
    yield from table(["track", "mean over pieces", "longest"], rows)
    for place in places:
        yield ""
        yield place


def _pictures(rolls: Sequence[str]) -> Iterator[str]:
    if not rolls:
        return
    yield "## Generated pieces beside real ones"
    yield ""
    yield "Bar-by-bar self-similarity, generated above real:"
    yield ""
    yield "![self-similarity matrices](self_similarity.png)"
    for name in rolls:
        yield ""
        yield f"![piano roll, {name.replace('_', ' ')}](piano_rolls/{name}.png)"
