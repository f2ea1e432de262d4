"""Faults are found in what was written, and none where there is none."""

from dataclasses import replace

import numpy as np
import pytest

from data_prep.form.outlines import Repeat, parse_outline
from evaluation.orders.exactness import faults_of, report
from evaluation.orders.pieces import Piece
from evaluation.orders.random_requests import LENGTHS, Case, RandomRequests, bars_asked, written_bars
from museformer_plugin.steering.track_plan import TrackPlan
from museformer_plugin.steering.wishes import Wishes

NOTES = [(0, 80, 60, 12), (0, 0, 48, 12), (12, 80, 62, 12)]


@pytest.fixture
def song(piece_of):
    return piece_of([[(onset, track, pitch + n, d) for onset, track, pitch, d in NOTES] for n in range(12)])


@pytest.fixture
def nothing(families):
    return Piece.of(np.empty(0, dtype=np.int64), families)


def with_bar(song, number, other, families):
    bars = [*song.bars[: number - 1], other, *song.bars[number:]]
    return Piece.of(np.concatenate(bars), families)


def test_which_bars_are_to_be_written(song, nothing):
    assert written_bars(Case(Wishes(fill_bars=((2, 3), (6, 6))), song)) == [2, 3, 6]
    assert written_bars(Case(Wishes(prompt_bars=3, bars=5), song)) == [4, 5]
    assert written_bars(Case(Wishes(given_tracks=frozenset({0})), song)) == list(range(1, 13))
    assert written_bars(Case(Wishes(bars=2), nothing)) == [1, 2]
    assert bars_asked(Case(Wishes(prompt_bars=3, bars=5), song)) == 5


@pytest.mark.parametrize("wishes", [Wishes(fill_bars=((4, 6),)), Wishes(vary_bars=((4, 6),))])
def test_a_given_bar_that_has_changed_is_a_fault(song, piece_of, families, wishes):
    case = Case(wishes, song)
    louder = piece_of([[*NOTES, (24, 0, 50, 12)]]).bars[0]
    assert faults_of(case, song, families) == []
    assert faults_of(case, with_bar(song, 5, louder, families), families) == []
    assert faults_of(case, with_bar(song, 7, louder, families), families) == ["bar 7 is not as it was given"]
    assert faults_of(case, song.excerpt(0, 11, families), families) == ["it has 11 bars in place of 12"]


def test_a_given_note_that_has_changed_is_a_fault(song, piece_of, families):
    case = Case(Wishes(given_tracks=frozenset({0})), song)  # the melody
    other_piano = piece_of([[(0, 80, 64, 12), (0, 0, 55, 12), (12, 80, 66, 12)]]).bars[0]
    other_melody = piece_of([[(0, 80, 64, 12), (0, 0, 52, 12), (12, 80, 66, 18)]]).bars[0]
    assert faults_of(case, with_bar(song, 5, other_piano, families), families) == []
    (fault,) = faults_of(case, with_bar(song, 5, other_melody, families), families)
    assert fault == "bar 5: the notes of given tracks are not as they were given"


def test_a_track_that_was_not_asked_for_is_a_fault(song, nothing, families):
    names = families.representation
    plan = TrackPlan.parse("melody,3:+piano", names)
    found = faults_of(Case(Wishes(bars=12, tracks=plan), nothing), song, families)
    assert found == [f"bar {n}: tracks play that were not asked for" for n in (1, 2)]
    given = Wishes(given_tracks=frozenset({0}), tracks=TrackPlan.parse("piano", names))
    assert faults_of(Case(given, song), song, families) == []


def test_a_tempo_that_was_not_asked_for_is_a_fault(song, piece_of, nothing, families):
    assert faults_of(Case(Wishes(bars=12, tempo=31), nothing), song, families) == []
    assert len(faults_of(Case(Wishes(bars=12, tempo=30), nothing), song, families)) == 12
    faster = with_bar(song, 5, piece_of([NOTES], tempo=33).bars[0], families)
    for wishes in (Wishes(fill_bars=((5, 5),)), Wishes(vary_bars=((5, 5),))):
        assert faults_of(Case(wishes, song), faster, families) == ["bar 5: its tempo is another"]
        assert faults_of(Case(replace(wishes, tempo=33), song), faster, families) == []
    # between bars of two tempos either will do
    between = Case(Wishes(fill_bars=((4, 4),)), faster)
    assert faults_of(between, with_bar(faster, 4, piece_of([NOTES], tempo=33).bars[0], families), families) == []


def test_a_track_that_was_to_stay_and_changed_is_a_fault(piece_of, families, nothing):
    piece = piece_of([NOTES, NOTES, [*NOTES[:2], (12, 80, 64, 12)], NOTES])

    def faults(text, **more):
        wishes = Wishes(bars=4, repeats=(Repeat(1, 0, "all"), Repeat(2, 1, text), Repeat(3, 1)), **more)
        return faults_of(Case(wishes, nothing), piece, families)

    said = ["bar 3: tracks that were to stay have other notes than the bar that it repeats"]
    assert faults("all") == faults("melody") == faults("-piano") == said
    assert faults("none") == faults("piano") == faults("-melody") == []
    tracks = TrackPlan.parse("melody,piano,3:-melody", families.representation)
    assert said[0] not in faults("all", tracks=tracks)  # it was not to play at all


def test_a_section_without_melody_keeps_all_else(piece_of, families, nothing):
    """Where the form has no melody the bar that is repeated cannot give its own."""

    def faults(bar):
        piece = piece_of([NOTES, NOTES, bar])
        wishes = Wishes(bars=3, form=parse_outline("A2a1"), repeats=(Repeat(2, 0, "all"),))
        return faults_of(Case(wishes, nothing), piece, families)

    assert faults([note for note in NOTES if note[1] != 80]) == []
    assert faults([(0, 0, 50, 12)]) == ["bar 3: tracks that were to stay have other notes than the bar that it repeats"]


def test_what_breaks_the_grammar_is_a_fault(song, families):
    tokens = np.concatenate([song.tokens[1:3], song.tokens])  # the second bar's onsets and no tempo
    case = Case(Wishes(vary_bars=((1, 12),)), song)
    assert faults_of(case, Piece.of(tokens, families), families) == ["it breaks the grammar"]


def test_random_requests_can_be_made_and_follow_from_the_seed(song, families):
    def drawn(seed):
        requests = RandomRequests([song], families, np.random.default_rng(seed))
        return [(kind, draw()) for kind, draw in requests.kinds.items() for _ in range(60)]

    cases = drawn(3)
    assert [case.wishes for _, case in cases] == [case.wishes for _, case in drawn(3)]
    for kind, case in cases:
        request = case.wishes.request_for(case.song.tokens, families)
        assert request.written == written_bars(case)
        assert kind in ("form", "bars") or LENGTHS[0] <= bars_asked(case) <= LENGTHS[1]
    asked = [case.wishes for _, case in cases]
    assert any(wishes.tracks for wishes in asked) and any(wishes.tempo is not None for wishes in asked)
    assert all(
        any(case.wishes.repeats for kind, case in cases if kind == named) for named in {kind for kind, _ in cases}
    )
    assert sum(bool(wishes.fill_bars) for wishes in asked) == sum(bool(wishes.vary_bars) for wishes in asked) == 60


def test_the_report_counts_requests_bars_and_faults(song, piece_of, families, known_writer):
    draw = RandomRequests([song], families, np.random.default_rng(1))
    answers = []
    for case_of_kind in draw.kinds.values():
        for case in [case_of_kind() for _ in range(2)]:
            answers.append(piece_of([[]] * bars_asked(case)))
    pairs = [answers[n : n + 2] for n in range(0, len(answers), 2)]
    table = report(known_writer(*pairs), [song], 2, seed=1)
    total = next(line for line in table.splitlines() if line.startswith("| all"))
    assert total.startswith(f"| all | 16 | {sum(map(len, answers))} |")
    assert "is not as it was given" in table  # the bars around a hole came back empty
