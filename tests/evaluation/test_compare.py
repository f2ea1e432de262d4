import json

import pytest

from evaluation.compare import main, paired_ratio
from evaluation.report_text import FORMAT


def estimate(value, low=None, high=None):
    return {"value": value, "low": low, "high": high}


def scores(bits, **changed):
    """A small report: three test pieces with these losses, 10 tokens each."""
    perplexity = {**estimate(2 ** (sum(bits) / 30), 1.0, 9.0), "piece_bits": bits, "piece_tokens": [10, 10, 10]}
    return {
        "format": FORMAT,
        "options": {"seed": 1, "replicates": 50},
        "model": {
            "architecture": {"structure bars": "1,2", "coarse-grained attention": "on"},
            "parameters": 1234,
            "updates": 5,
            "training_seed": 1,
        },
        "data": {"representation": "six_track", "training_pieces": 8, "test_pieces": 3},
        "generated": {"pieces": 4, "continuations": 0},
        "perplexity": dict.fromkeys(("1024", "5120", "10240"), perplexity),
        "similarity_error_percent": {"melody": {"generated": estimate(0.954, 0.5, 1.2), "test": estimate(0.4)}},
        "grammar_errors": {"constrained": estimate(0.0), "unconstrained": None},
        "features": {},
        "bleu": None,
        "self_bleu": None,
        "copied_bars": {},
        **changed,
    }


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name / "report.json"
        path.parent.mkdir(parents=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    return write


def cells(printed, name):
    (row,) = [line for line in printed.splitlines() if line.startswith(f"| {name} |")]
    return [cell.strip() for cell in row.split("|")[2:-1]]


def test_a_column_for_each_model(write, capsys):
    paths = [write("full", scores([10.0, 20.0, 30.0])), write("no_coarse", scores([20.0, 30.0, 40.0]))]
    assert main(paths) == 0
    printed = capsys.readouterr().out
    assert "|  | full | no_coarse | test pieces |" in printed
    assert cells(printed, "perplexity, first 1,024 tokens") == ["4.00 [1.00, 9.00]", "8.00 [1.00, 9.00]", "–"]
    assert cells(printed, "similarity error, melody (%)") == ["0.95 [0.50, 1.20]"] * 2 + ["0.40"]
    assert cells(printed, "grammar errors per 1,000 tokens") == ["0.00", "0.00", "–"]
    assert "BLEU" not in printed  # nobody has it
    assert "cannot be compared" not in printed


def trained(seed, bits):
    found = scores(bits)
    return {**found, "model": {**found["model"], "training_seed": seed}}


def test_seeds_of_a_model_share_a_column(write, capsys):
    losses = {
        "full-2": (2, [10.0, 20.0, 30.0]),  # 4.0
        "full-1": (1, [40.0, 10.0, 10.0]),  # 4.0
        "no_coarse-1": (1, [50.0, 10.0, 30.0]),  # 8.0
        "no_coarse-2": (2, [10.0, 10.0, 10.0]),  # 2.0
        "alone": (1, [10.0, 10.0, 10.0]),
    }
    paths = [write(name, trained(seed, bits)) for name, (seed, bits) in losses.items()]
    assert main(["--over-seeds", *paths]) == 0
    printed = capsys.readouterr().out
    assert "|  | full | no_coarse | alone | test pieces |" in printed
    assert cells(printed, "perplexity, first 1,024 tokens") == [
        "4.00 [4.00, 4.00]",
        "5.00 [2.00, 8.00]",
        "2.00 [1.00, 9.00]",
        "–",
    ]
    ratios = cells(printed, "perplexity, first 1,024 tokens, over that of the first")
    assert ratios == ["1", "1.250 [0.500, 2.000]", "0.500 [0.250, 1.000]", "–"]  # alone has one seed in common
    assert "- full-2: " in printed  # every training is told
    assert "the highest of the seeds" in printed
    assert main(paths[:2]) == 0
    assert "|  | full-2 | full-1 | test pieces |" in capsys.readouterr().out


def test_a_row_for_each_model_and_chosen_measures(write, capsys):
    paths = [write("full", scores([10.0, 20.0, 30.0])), write("no_coarse", scores([20.0, 30.0, 40.0]))]
    assert main(["--by-model", "--only", "perplexity, first 1,024 tokens", "--only", "grammar", *paths]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert rows == [
        "|  | perplexity, first 1,024 tokens | perplexity, first 1,024 tokens, over that of the first "
        "| grammar errors per 1,000 tokens |",
        "|---|---:|---:|---:|",
        "| full | 4.00 [1.00, 9.00] | 1 | 0.00 |",
        "| no_coarse | 8.00 [1.00, 9.00] | 2.000 [2.000, 2.000] | 0.00 |",
        "| test pieces | – | – | – |",
    ]


@pytest.mark.parametrize(("seed", "updates"), [(1, 5), (2, 6)], ids=["same_seed", "other_updates"])
def test_a_column_is_of_one_model(write, caplog, seed, updates):
    other = trained(seed, [1.0, 2.0, 3.0])
    other["model"]["updates"] = updates
    paths = [write("full-1", trained(1, [1.0, 2.0, 3.0])), write("full" if seed == 1 else "full-2", other)]
    assert main(["--over-seeds", *paths]) == 1
    assert "The models full differ in more than their training seed, or have the same one." in caplog.text


def test_kinds_repeats_peaks_and_spread_have_rows(write, capsys):
    heights = {"4": estimate(3.0, 1.0, 5.0), "8": estimate(-1.0), "16": estimate(2.0, -1.0, 3.0)}
    found = scores(
        [1.0, 2.0, 3.0],
        losses_by_kind={"family": {"pitch": estimate(1.25, 1.0, 1.5)}, "track_bar": {"melody, new": estimate(2.0)}},
        exact_repeats_percent={"tracks": {"bass": {"generated": estimate(12.34), "test": estimate(60.8)}}},
        similarity_peaks_percent={"melody": {"generated": heights, "test": {"4": estimate(1.0), "8": estimate(2.0)}}},
        features={"notes_a_bar": {"spread": {"low": 25.0, "high": 90.0, "deviations": 1.0, "within": False}}},
    )
    assert main([write("full", found), write("older", scores([1.0, 2.0, 3.0]))]) == 0
    printed = capsys.readouterr().out
    assert cells(printed, "bits a token, pitch") == ["1.250 [1.000, 1.500]", "–", "–"]
    assert cells(printed, "bits a token of the melody, new bars") == ["2.000", "–", "–"]
    assert cells(printed, "exact repeats, bass (%)") == ["12.3", "–", "60.8"]
    assert cells(printed, "peaks at 4, 8, 16 bars, melody") == ["4, (16)", "–", "4, 8"]
    assert cells(printed, "notes a bar, within 5 to 95 % of test pieces") == ["no, 25.000 to 90.000", "–", "–"]


def test_models_are_compared_on_the_same_pieces(write, capsys):
    first, second = scores([10.0, 20.0, 60.0]), scores([20.0, 30.0, 70.0])
    # A bit a token more on every piece is twice the perplexity, whichever pieces are drawn.
    found = paired_ratio(second, first, "1024")
    assert [round(found[name], 9) for name in ("value", "low", "high")] == [2, 2, 2]
    main([write("a", first), write("b", second)])
    ratio = cells(capsys.readouterr().out, "perplexity, first 5,120 tokens, over that of the first")
    assert ratio == ["1", "2.000 [2.000, 2.000]", "–"]


def test_models_of_other_data_are_not_compared(write, capsys):
    other = scores([1.0, 2.0, 3.0], data={"representation": "general", "training_pieces": 8, "test_pieces": 3})
    other["perplexity"]["1024"]["piece_tokens"] = [10, 10, 11]
    main([write("a", scores([1.0, 2.0, 3.0])), write("b", other)])
    printed = capsys.readouterr().out
    assert "cannot be compared" in printed
    assert cells(printed, "perplexity, first 1,024 tokens, over that of the first")[1] == "–"


def test_the_papers_figures_on_request(write, capsys):
    main([write("a", scores([1.0, 2.0, 3.0])), "--paper"])
    printed = capsys.readouterr().out
    assert cells(printed, "Museformer") == ["1.64", "1.41", "1.35", "0.95"]
    assert "over that of the first" not in printed


def test_folders_of_one_name_are_told_apart(write, capsys):
    main([write("x/report", scores([1.0, 2.0, 3.0])), write("y/report", scores([1.0, 2.0, 3.0]))])
    assert "|  | x/report | y/report |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "sentence"),
    [("[]", "is not a report.json"), ("{", "is not a report.json"), ('{"format": 0}', "has format 0")],
)
def test_what_is_no_report_is_told(write, caplog, content, sentence):
    assert main([write("a", content)]) == 1
    assert sentence in caplog.text


def test_a_missing_report_and_one_named_twice_are_told(write, tmp_path, caplog):
    assert main([str(tmp_path / "absent.json")]) == 1
    assert "absent.json" in caplog.text
    path = write("a", scores([1.0, 2.0, 3.0]))
    assert main([path, path]) == 1
    assert "named twice" in caplog.text


def test_measures_that_nobody_has_are_told(write, caplog):
    assert main(["--only", "perplexty", write("full", scores([10.0, 20.0, 30.0]))]) == 1
    assert "No measure of these reports begins with 'perplexty'." in caplog.text
