"""All measures of one model in one dictionary: what ``report.json`` holds and ``report.md`` says in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from data_prep.similarity.bars import TRACKS, BarSimilarity, similarity_of_lines
from data_prep.tokens.vocabulary import Representation
from evaluation.bar_repeats import exact_repeats
from evaluation.bleu import EQUAL_WEIGHTS, continuation_bleu, self_bleu
from evaluation.bootstrap import CONFIDENCE, Bootstrap
from evaluation.copying import TrainingBars, fingerprints_of_lines
from evaluation.data_bin import Split
from evaluation.generated import GeneratedPiece
from evaluation.grammar_errors import GrammarErrors
from evaluation.losses_by_kind import KindLosses, losses_by_kind
from evaluation.musical_features import FEATURES, features_of_lines, spread
from evaluation.ngrams import ORDERS, known_ngrams
from evaluation.perplexity import Losses
from evaluation.report_text import FORMAT
from evaluation.similarity import measure_errors, peak_heights, tracks_of


@dataclass(frozen=True)
class Options:
    """What one may choose; recorded in the report."""

    seed: int = 1
    replicates: int = 1000
    prompt_bars: int = 0
    bleu_weights: tuple[float, ...] = EQUAL_WEIGHTS
    self_bleu_pieces: int = 20
    pictures: int = 4
    whole_pieces: bool = True

    @property
    def bootstrap(self) -> Bootstrap:
        """The intervals' seed and size."""
        return Bootstrap(self.seed, self.replicates)


@dataclass(frozen=True)
class Corpora:
    """What the measures compare; ``unconstrained`` pieces were sampled with ``--no-grammar``."""

    representation: Representation
    training: Split
    test: Split
    generated: Sequence[GeneratedPiece]
    unconstrained: Sequence[GeneratedPiece] = ()

    def own_lines(self) -> list[str]:
        """The bars that the model wrote, piece by piece."""
        return [piece.own_bars for piece in self.generated]


def score(model: dict[str, Any], losses: Losses, corpora: Corpora, options: Options) -> dict[str, Any]:
    """Everything but the model's own losses is measured here; see each measure's module for its definition."""
    generated = corpora.generated
    return {
        "format": FORMAT,
        "options": asdict(options),
        "confidence": CONFIDENCE,
        "model": model,
        "data": {
            "representation": corpora.representation.name,
            "training_pieces": len(corpora.training),
            "test_pieces": len(corpora.test),
        },
        "generated": {
            "pieces": len(generated),
            "continuations": sum(piece.given > 0 for piece in generated),
            "tokens": sum(len(piece.tokens) - piece.given for piece in generated),
        },
        "perplexity": _perplexities(losses, options),
        "losses_by_kind": {
            division: _kinds(found, options)
            for division, found in losses_by_kind(losses, corpora.test, corpora.representation).items()
        },
        **_similarity(corpora, options),
        "exact_repeats_percent": _exact_repeats(corpora, options),
        "grammar_errors": {
            "constrained": _grammar_errors(generated, corpora.representation, options),
            "unconstrained": _grammar_errors(corpora.unconstrained, corpora.representation, options),
        },
        "features": _features(corpora, options),
        "bleu": _bleu(generated, options),
        "self_bleu": _self_bleu(corpora, options),
        "known_ngrams_percent": _known_ngrams(corpora, options),
        "copied_bars": _copied_bars(corpora, options),
    }


def _perplexities(losses: Losses, options: Options) -> dict[str, Any]:
    return {
        name: {
            **losses.perplexity(column, options.bootstrap).as_json(),
            "bits": losses.bits_per_token(column),
            "tokens": int(losses.tokens[:, column].sum()),
            # piece by piece, so that two models can be compared on the same pieces
            "piece_bits": [round(bits, 4) for bits in losses.bits[:, column].tolist()],
            "piece_tokens": losses.tokens[:, column].tolist(),
        }
        for column, name in enumerate(losses.names)
    }


def _kinds(losses: KindLosses, options: Options) -> dict[str, Any]:
    """The kinds that occur; what they lose adds up to what all tokens lose."""
    bits, tokens = losses.bits.sum(axis=0), losses.tokens.sum(axis=0)
    return {
        name: {
            **losses.bits_per_token(kind, options.bootstrap).as_json(),
            "tokens": int(tokens[kind]),
            "token_share": float(tokens[kind] / tokens.sum()),
            "loss_share": float(bits[kind] / bits.sum()),
        }
        for kind, name in enumerate(losses.names)
        if tokens[kind]
    }


def _similarity(corpora: Corpora, options: Options) -> dict[str, Any]:
    tracks = tracks_of(corpora.representation)
    training = similarity_of_lines(_shown(corpora.training, "bar similarity, training"), tracks)
    test = similarity_of_lines(corpora.test, tracks)
    generated = similarity_of_lines(corpora.own_lines(), tracks)
    errors, curves, peaks = {}, {}, {}
    for track in tracks:
        found = measure_errors(generated[track], test[track], training[track], options.bootstrap)
        errors[track] = {
            "generated": found.generated.scaled(100).as_json(),
            "test": found.test.scaled(100).as_json(),
            "chance": found.chance.scaled(100).as_json(),
        }
        sets = {"training": training, "test": test, "generated": generated}
        curves[track] = {name: _numbers(similarity[track].curve()) for name, similarity in sets.items()}
        peaks[track] = {name: _peaks(similarity[track], options) for name, similarity in sets.items()}
    return {"similarity_error_percent": errors, "bar_similarity": curves, "similarity_peaks_percent": peaks}


def _peaks(similarity: BarSimilarity, options: Options) -> dict[str, Any]:
    heights = peak_heights(similarity, options.bootstrap)
    return {str(t): height.scaled(100).as_json() for t, height in heights.items()}


def _exact_repeats(corpora: Corpora, options: Options) -> dict[str, Any]:
    """In percent of the bars that are not empty; of generated pieces only the bars that the model wrote count.

    The longer a piece, the more there is to repeat: ``test_as_long`` are the test pieces cut to as many bars
    as a generated piece has on average.
    """
    tracks = tracks_of(corpora.representation)
    instruments = [TRACKS[track] for track in tracks]
    pieces = fingerprints_of_lines((" ".join(piece.tokens) for piece in corpora.generated), instruments)
    first_bars = [piece.first_own_bar for piece in corpora.generated]
    real = fingerprints_of_lines(_shown(corpora.test, "repeats, test"), instruments)
    length = max(1, round(np.mean([len(piece) for piece in pieces[0]])))
    return {
        "bars_of_a_piece": length,
        "tracks": {
            track: {
                "generated": _repeats(map(exact_repeats, pieces[index], first_bars), options),
                "test": _repeats(map(exact_repeats, real[index]), options),
                "test_as_long": _repeats((exact_repeats(piece[:length]) for piece in real[index]), options),
            }
            for index, track in enumerate(tracks)
        },
    }


def _repeats(counts: Iterable[tuple[int, int]], options: Options) -> dict[str, Any]:
    """The share of all bars; ``piece_mean`` is the mean of the pieces' own shares."""
    found = np.array(list(counts))
    shares = [repeated / played for repeated, played in found if played]
    share = options.bootstrap.estimate(lambda sums: 100 * sums[0] / sums[1] if sums[1] else math.nan, found)
    return {
        **share.as_json(),
        "piece_mean": 100 * float(np.mean(shares)) if shares else None,
        "bars": int(found[:, 1].sum()),
    }


def _numbers(values: Iterable[float]) -> list[float | None]:
    return [float(value) if math.isfinite(value) else None for value in values]


def _grammar_errors(
    pieces: Sequence[GeneratedPiece], representation: Representation, options: Options
) -> dict[str, Any] | None:
    """Errors per 1,000 tokens that the model wrote, and the share of pieces without any; None without pieces."""
    if not pieces:
        return None
    finder = GrammarErrors(representation)
    errors = np.array([(finder.indices(piece.tokens) >= piece.given).sum() for piece in pieces])
    tokens = np.array([len(piece.tokens) - piece.given for piece in pieces])
    counts = np.column_stack([errors, tokens])
    rate = options.bootstrap.estimate(lambda sums: 1000 * sums[0] / sums[1] if sums[1] else math.nan, counts)
    return {**rate.as_json(), "pieces": len(pieces), "pieces_without": int((errors == 0).sum())}


def _features(corpora: Corpora, options: Options) -> dict[str, Any]:
    generated = features_of_lines(corpora.own_lines())
    test = features_of_lines(_shown(corpora.test, "features, test"))
    return {
        name: {
            "generated": options.bootstrap.mean(generated[:, column]).as_json(),
            "test": options.bootstrap.mean(test[:, column]).as_json(),
            "difference": options.bootstrap.mean_difference(generated[:, column], test[:, column]).as_json(),
            "spread": _spread(generated[:, column], test[:, column]),
        }
        for column, name in enumerate(FEATURES)
    }


def _spread(generated: np.ndarray, test: np.ndarray) -> dict[str, Any] | None:
    found = spread(generated, test)
    if found is None:
        return None
    deviations = found.deviations if math.isfinite(found.deviations) else None
    return {**asdict(found), "deviations": deviations}


def _bleu(generated: Sequence[GeneratedPiece], options: Options) -> dict[str, Any] | None:
    """None where no piece continues a known example."""
    pairs = [(piece.continuation, piece.real_continuation) for piece in generated if piece.real_continuation]
    if not pairs:
        return None
    hypotheses, references = zip(*pairs)
    estimate = continuation_bleu(hypotheses, references, options.bleu_weights, options.bootstrap)
    return {**estimate.as_json(), "pieces": len(pairs)}


def _self_bleu(corpora: Corpora, options: Options) -> dict[str, Any] | None:
    """On samples of equal size, because more references mean a higher score; None for less than two pieces."""
    lines = [line for line in corpora.own_lines() if line]
    count = min(options.self_bleu_pieces, len(lines), len(corpora.test))
    if count < 2:
        return None
    chance = np.random.default_rng(options.seed)
    chosen = [lines[n] for n in np.sort(chance.choice(len(lines), count, replace=False))]
    real = [corpora.test.line(int(n)) for n in np.sort(chance.choice(len(corpora.test), count, replace=False))]
    scores = self_bleu(chosen, options.bleu_weights, "generated"), self_bleu(real, options.bleu_weights, "test")
    generated, test = (options.bootstrap.mean(values).as_json() for values in scores)
    return {"generated": generated, "test": test, "pieces": count}


def _known_ngrams(corpora: Corpora, options: Options) -> dict[str, Any]:
    """By n, of what the model wrote and of the test pieces."""
    training, test = corpora.training, corpora.test
    sets = {
        "generated": [test.indices_of(line) for line in corpora.own_lines()],
        "test": [test.indices(index) for index in range(len(test))],
    }
    pieces = [piece for of_set in sets.values() for piece in of_set]
    read = tqdm(range(len(training)), desc="n-grams, training", unit="piece", leave=False)
    found = known_ngrams((training.indices(index) for index in read), pieces, test.num_symbols)
    of_sets = {"generated": slice(None, len(sets["generated"])), "test": slice(len(sets["generated"]), None)}
    return {
        str(order): {
            name: options.bootstrap.estimate(
                lambda sums: 100 * sums[0] / sums[1] if sums[1] else math.nan,
                np.column_stack([found.known[rows, column], found.total[rows, column]]),
            ).as_json()
            for name, rows in of_sets.items()
        }
        for column, order in enumerate(ORDERS)
    }


def _copied_bars(corpora: Corpora, options: Options) -> dict[str, Any]:
    tracks = {name: TRACKS[name] for name in ("all", tracks_of(corpora.representation)[0])}
    instruments = list(tracks.values())
    training = fingerprints_of_lines(_shown(corpora.training, "bars, training"), instruments)
    generated = fingerprints_of_lines(corpora.own_lines(), instruments)
    test = fingerprints_of_lines(corpora.test, instruments)
    found = {}
    for index, track in enumerate(tracks):
        bars = TrainingBars(training[index])
        runs = [bars.longest_run(piece) for piece in tqdm(generated[index], f"copied, {track}", leave=False)]
        real = [bars.longest_run(piece).length for piece in tqdm(test[index], f"copied, test {track}", leave=False)]
        longest = max(range(len(runs)), key=lambda n: runs[n].length)
        found[track] = {
            "generated": options.bootstrap.mean(np.array([run.length for run in runs])).as_json(),
            "test": options.bootstrap.mean(np.array(real)).as_json(),
            "longest_test": max(real),
            "longest": {"piece": corpora.generated[longest].name, **asdict(runs[longest])},
        }
    return found


def _shown(lines: Split, title: str) -> Iterator[str]:
    return iter(tqdm(lines, desc=title, unit="piece", total=len(lines), leave=False))
