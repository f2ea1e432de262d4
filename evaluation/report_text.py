"""A scorecard in words: the markdown of ``report.md``, out of what ``report.json`` holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

FORMAT = 1  # of report.json
WHOLE = "whole"  # the length of whole pieces
UNKNOWN = "–"
FEATURE_NAMES = {
    "pitch_class_entropy": "pitch-class entropy (bits)",
    "groove_consistency": "groove consistency",
    "scale_consistency": "scale consistency",
    "empty_bar_rate": "empty-bar rate",
    "notes_a_bar": "notes a bar",
}

DIVISION_NAMES = {
    "family": "What the token says",
    "track": "Track",
    "bar": "The token's bar, taking all tracks",
    "track_bar": "The token's track, and its bar by the notes of that track",
}


def shown(estimate: dict[str, Any] | None, digits: int) -> str:
    """An estimate with its interval: ``1.35 [1.30, 1.41]``; a dash for an unknown one."""
    if estimate is None or estimate["value"] is None:
        return UNKNOWN
    if estimate["low"] is None:
        return f"{estimate['value']:.{digits}f}"
    return f"{estimate['value']:.{digits}f} [{estimate['low']:.{digits}f}, {estimate['high']:.{digits}f}]"


def shown_peaks(heights: dict[str, Any] | None) -> str:
    """The distances that are local maxima: ``4, (16)``, in brackets where their interval holds 0; a dash for none."""
    found = [
        t if height["low"] is None or height["low"] > 0 else f"({t})"
        for t, height in (heights or {}).items()
        if height["value"] is not None and height["value"] > 0
    ]
    return ", ".join(found) or UNKNOWN


def shown_spread(spread: dict[str, Any] | None, digits: int = 3) -> str:
    """Whether a mean lies within the spread of real pieces: ``yes, 0.80 to 0.97``; a dash for an unknown one."""
    if spread is None:
        return UNKNOWN
    return f"{'yes' if spread['within'] else 'no'}, {spread['low']:.{digits}f} to {spread['high']:.{digits}f}"


def architecture_text(model: dict[str, Any]) -> str:
    """What a report knows of an architecture: ``structure bars 1,2,4, coarse-grained attention on``."""
    if "architecture" not in model:  # a report from when there was one
        bars, coarse = ",".join(map(str, model["structure_bars"])) or "none", model["coarse_attention"]
        return f"structure bars {bars}, coarse-grained attention {'on' if coarse else 'off'}"
    return ", ".join(f"{name} {value}" for name, value in model["architecture"].items())


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A markdown table, its first column to the left and numbers to the right."""
    yield f"| {' | '.join(header)} |"
    yield f"|---{'|---:' * (len(header) - 1)}|"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


def report_text(scores: dict[str, Any], rolls: Sequence[str]) -> str:
    """The whole report; ``rolls`` are the piano rolls drawn, without ``.png``."""
    parts = (_head, _perplexity, _kinds, _similarity, _repeats, _grammar, _features, _bleu, _ngrams, _copying)
    lines = [line for part in parts for line in (*part(scores), "")]
    return "\n".join([*lines, *_pictures(rolls)]) + "\n"


def _head(scores: dict[str, Any]) -> Iterator[str]:
    model, options, generated = scores["model"], scores["options"], scores["generated"]
    yield f"# Scorecard of {model['checkpoint']}"
    yield ""
    yield (
        f"- Model: {model['parameters']:,} parameters, {model['updates'] or 'an unknown number of'} updates, "
        f"{architecture_text(model)}, trained with seed {model['training_seed']}."
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
        [
            length if length == WHOLE else f"{int(length):,}",
            shown(entry, 2),
            f"{entry['bits']:.3f}",
            f"{entry['tokens']:,}",
        ]
        for length, entry in scores["perplexity"].items()
    )
    yield from table(["N", "perplexity", "bits a token", "tokens"], rows)


def _kinds(scores: dict[str, Any]) -> Iterator[str]:
    length = max(int(length) for length in scores["perplexity"] if length != WHOLE)
    yield "## Where the loss is"
    yield ""
    yield (
        f"On the first {length:,} tokens of each test piece. A bar *repeats* an earlier one of the piece when their "
        f"notes are equal in onset, pitch and duration; it *varies* one when half or more of the notes that either "
        f"has are in both; else it is *new*."
    )
    for division, kinds in scores["losses_by_kind"].items():
        rows = (
            [
                name,
                f"{100 * entry['token_share']:.2f}",
                shown(entry, 3),
                f"{2 ** entry['value']:.2f}",
                f"{100 * entry['loss_share']:.2f}",
            ]
            for name, entry in kinds.items()
        )
        yield ""
        yield from table(
            [DIVISION_NAMES[division], "tokens (%)", "bits a token", "perplexity", "of the loss (%)"], rows
        )


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
    yield ""
    yield (
        "Peaks: where, of 4, 8 and 16 bars, L_t is higher than both L_(t-1) and L_(t+1); in brackets where other "
        "pieces may well show none (the interval of the height holds 0)."
    )
    yield ""
    peaks = scores["similarity_peaks_percent"]
    yield from table(
        ["track", "training", "generated", "test pieces"],
        (
            [track, *(shown_peaks(entry[name]) for name in ("training", "generated", "test"))]
            for track, entry in peaks.items()
        ),
    )
    for track in errors:
        yield ""
        yield f"![L_t of track {track}](similarity_{track}.png)"


def _repeats(scores: dict[str, Any]) -> Iterator[str]:
    repeats = scores["exact_repeats_percent"]
    yield "## Exact repeats in percent"
    yield ""
    yield (
        "Of the bars in which a note of the track begins, those whose notes (onset, pitch, duration) are exactly "
        "those of an earlier bar of the piece. Of generated pieces the bars that the model wrote count; they may "
        "repeat the prompt. Long pieces have more to repeat: beside whole test pieces stand their beginnings, as "
        "long as a generated piece is on average."
    )
    yield ""
    rows = (
        [
            track,
            shown(entry["generated"], 1),
            shown(entry["test_as_long"], 1),
            shown(entry["test"], 1),
            f"{entry['generated']['bars']:,}",
        ]
        for track, entry in repeats["tracks"].items()
    )
    length = repeats["bars_of_a_piece"]
    yield from table(["track", "generated", f"test, first {length} bars", "test pieces", "generated bars"], rows)


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
    yield (
        "Means over pieces, by MusPy's definitions; a difference whose interval holds 0 is not shown to be one. "
        "*Within*: whether the generated mean lies between the 5th and the 95th percentile of test pieces; "
        "*deviations*: how many standard deviations of test pieces it lies above their mean."
    )
    yield ""
    rows = []
    for name, entry in scores["features"].items():
        value = entry["difference"]["value"]
        distance = UNKNOWN if value is None else f"{abs(value):.3f}"
        deviations = entry["spread"] and entry["spread"]["deviations"]
        rows.append(
            [
                FEATURE_NAMES[name],
                shown(entry["generated"], 3),
                shown(entry["test"], 3),
                distance,
                shown(entry["difference"], 3),
                shown_spread(entry["spread"]),
                UNKNOWN if deviations is None else f"{deviations:+.2f}",
            ]
        )
    header = ["", "generated", "test", "\\|generated - test\\|", "generated - test", "within", "deviations"]
    yield from table(header, rows)


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


def _ngrams(scores: dict[str, Any]) -> Iterator[str]:
    yield "## n-grams of the training set"
    yield ""
    yield "How many of the runs of n tokens occur in a training piece, in percent (ngrams.png)."
    yield ""
    rows = (
        [order, shown(entry["generated"], 1), shown(entry["test"], 1)]
        for order, entry in scores["known_ngrams_percent"].items()
    )
    yield from table(["n", "generated", "test pieces"], rows)


def _copying(scores: dict[str, Any]) -> Iterator[str]:
    yield "## Longest run of bars copied from the training set"
    yield ""
    yield "Bars with notes, in a row equal to bars in a row of one training piece; mean over pieces, and the longest."
    yield ""
    rows, longest_runs = [], []
    for track, entry in scores["copied_bars"].items():
        longest = entry["longest"]
        rows.append([track, shown(entry["generated"], 2), str(longest["length"])])
        rows.append([f"{track}, test pieces", shown(entry["test"], 2), str(entry["longest_test"])])
        if longest["length"]:
            longest_runs.append(
                f"The longest of track {track}: {longest['piece']}, from bar {longest['bar'] + 1} of what the model "
                f"wrote, is training piece {longest['source'] + 1} from bar {longest['source_bar'] + 1}."
            )
    yield from table(["track", "mean over pieces", "longest"], rows)
    for sentence in longest_runs:
        yield ""
        yield sentence


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
