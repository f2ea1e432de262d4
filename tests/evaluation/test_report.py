"""The command behind evaluate.sh, and evaluate.sh itself, on a model and pieces that fairseq's commands made."""

import json
import os
import subprocess

import numpy as np
import pytest

from evaluation import perplexity
from evaluation.bleu import EQUAL_WEIGHTS
from evaluation.report import main

QUICK = ["--replicates", "20", "--pictures", "1", "--self-bleu-pieces", "3"]


@pytest.fixture(scope="module")
def unconstrained(generate, tmp_path_factory):
    return generate(tmp_path_factory.mktemp("unconstrained"), 2, "--no-grammar")


@pytest.fixture(scope="module")
def report(repository, checkpoint, data_bin, continued, unconstrained, tmp_path_factory):
    """The folder that evaluate.sh writes."""
    out = tmp_path_factory.mktemp("reports") / "tiny"
    chosen = {"PROMPT_BARS": "2", "NO_GRAMMAR_DIR": str(unconstrained), "BLEU_WEIGHTS": "1,1", "SEED": "5"}
    chosen |= {"REPLICATES": "50", "PICTURES": "2", "SELF_BLEU_PIECES": "3", "OMP_NUM_THREADS": "1"}
    command = [repository / "evaluate.sh", checkpoint, data_bin, continued, out]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, **chosen})
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == f"{out}/report.md (seed 5)\n"
    return out


def test_whole_pieces_may_be_left_out(checkpoint, data_bin, continued, tmp_path):
    arguments = [str(path) for path in (checkpoint, data_bin, continued, tmp_path / "out")]
    assert main([*arguments, *QUICK, "--no-whole-pieces"]) == 0
    scores = json.loads((tmp_path / "out/report.json").read_text())
    assert list(scores["perplexity"]) == ["1024", "5120", "10240"]


def test_the_folder_is_whole(report):
    pictures = {"self_similarity.png", "piano_rolls/generated_1.png", "piano_rolls/real_2.png"}
    pictures |= {
        f"similarity_{track}.png" for track in ("melody", "all", "drums", "bass", "guitar", "piano", "strings")
    }
    found = {str(path.relative_to(report)) for path in report.rglob("*") if path.is_file()}
    assert pictures | {"report.md", "report.json"} <= found
    assert [path.name for path in report.parent.iterdir()] == ["tiny"]  # nothing unfinished is left


def test_every_picture_of_the_text_is_there(report):
    text = (report / "report.md").read_text()
    named = [part.partition(")")[0] for part in text.split("](")[1:]]
    assert len(named) == 7 + 1 + 4
    assert all((report / name).stat().st_size > 1000 for name in named)


def test_every_measure_has_a_figure(report, piece_lines):
    scores = json.loads((report / "report.json").read_text())
    assert scores["model"]["updates"] == 3
    assert scores["generated"]["pieces"] == scores["generated"]["continuations"] == 4
    assert scores["data"] == {"representation": "six_track", "training_pieces": 8, "test_pieces": 4}
    assert [entry["tokens"] for entry in scores["perplexity"].values()] == 4 * [
        sum(len(line.split()) + 1 for line in piece_lines["test"])
    ]
    assert all(entry["low"] <= entry["value"] <= entry["high"] for entry in scores["perplexity"].values())
    assert scores["grammar_errors"]["constrained"]["value"] == 0
    assert scores["grammar_errors"]["unconstrained"]["value"] > 100  # three updates teach no grammar
    assert scores["bleu"]["pieces"] == 4
    assert 0 < scores["bleu"]["value"] < 100
    assert scores["options"]["bleu_weights"] == [1, 1]
    assert scores["self_bleu"]["pieces"] == 3
    assert set(scores["copied_bars"]) == {"all", "melody"}
    for entry in scores["features"].values():
        difference = entry["generated"]["value"] - entry["test"]["value"]
        assert entry["difference"]["value"] == pytest.approx(difference)


def test_what_kinds_of_tokens_lose_adds_up(report):
    scores = json.loads((report / "report.json").read_text())
    assert set(scores["losses_by_kind"]) == {"family", "track", "bar", "track_bar"}
    for kinds in scores["losses_by_kind"].values():
        bits = sum(entry["token_share"] * entry["value"] for entry in kinds.values())
        assert bits == pytest.approx(scores["perplexity"]["10240"]["bits"], rel=1e-12)
        assert sum(entry["tokens"] for entry in kinds.values()) == scores["perplexity"]["10240"]["tokens"]
        assert sum(entry["loss_share"] for entry in kinds.values()) == pytest.approx(1)
        assert all(entry["low"] <= entry["value"] <= entry["high"] for entry in kinds.values())
    text = (report / "report.md").read_text()
    assert "| track_bar" not in text
    assert all(f"| {kind} |" in text for kind in ("velocity", "strings", "new", "melody, new"))


def test_the_model_reads_the_test_pieces_once(checkpoint, data_bin, continued, tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(
        perplexity, "_piece_losses", lambda model, sample: read.append(1) or np.ones(int(sample["ntokens"]))
    )
    assert main([*map(str, (checkpoint, data_bin, continued, tmp_path / "out")), *QUICK]) == 0
    assert len(read) == 4
    kinds = json.loads((tmp_path / "out" / "report.json").read_text())["losses_by_kind"]
    assert {entry["value"] for division in kinds.values() for entry in division.values()} == {1}


def test_pieces_that_are_the_test_set_score_as_it_does(checkpoint, data_bin, piece_lines, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "pieces.txt").write_text("".join(f"{line}\n" for line in piece_lines["test"]))
    arguments = [str(path) for path in (checkpoint, data_bin, tmp_path / "real", tmp_path / "out")]
    assert main([*arguments, *QUICK, "--prompt-bars", "1"]) == 0
    scores = json.loads((tmp_path / "out" / "report.json").read_text())
    assert scores["bleu"]["value"] == pytest.approx(100)
    assert scores["options"]["bleu_weights"] == list(EQUAL_WEIGHTS)
    assert scores["grammar_errors"]["unconstrained"] is None
    repeats = scores["exact_repeats_percent"]
    assert repeats["bars_of_a_piece"] == round((5 + 9 + 14 + 7) / 4)
    for entry in repeats["tracks"].values():  # no first bar repeats one, and only they do not count here
        counts = [entry[name]["bars"] * (entry[name]["value"] or 0) for name in ("generated", "test")]
        assert counts[0] == pytest.approx(counts[1])
        assert entry["test_as_long"]["bars"] <= entry["test"]["bars"]
    own, real = (scores["similarity_peaks_percent"]["all"][name] for name in ("generated", "test"))
    assert own.keys() == real.keys() == {"4", "8", "16"}
    assert scores["features"]["notes_a_bar"]["spread"]["within"] is True
    again = [*arguments[:-1], str(tmp_path / "again"), *QUICK, "--prompt-bars", "1"]
    assert main(again) == 0
    for name in ("report.json", "report.md", "self_similarity.png"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_training_pieces_are_recognised_as_copies(checkpoint, data_bin, piece_lines, tmp_path):
    (tmp_path / "stolen").mkdir()
    (tmp_path / "stolen" / "pieces.txt").write_text(f"{piece_lines['train'][3]}\n{piece_lines['test'][1]}\n")
    arguments = [str(path) for path in (checkpoint, data_bin, tmp_path / "stolen", tmp_path / "out")]
    assert main([*arguments, *QUICK]) == 0
    longest = json.loads((tmp_path / "out" / "report.json").read_text())["copied_bars"]["all"]["longest"]
    assert (longest["piece"], longest["source"], longest["source_bar"]) == ("pieces_1", 3, longest["bar"])
    assert longest["length"] == sum("o-" in bar for bar in piece_lines["train"][3].split("b-1"))


@pytest.mark.parametrize(
    ("replaced", "sentence"),
    [
        ({"data_bin": "absent"}, "There is no folder"),
        ({"generated": "absent"}, "There is no folder"),
        ({"generated": "empty"}, "holds no token files"),
        ({"generated": "logs"}, "without hypotheses"),
        ({"generated": "foreign"}, "not in the six_track dictionary"),
        ({"data_bin": "foreign_data"}, "neither six_track nor general"),
        ({"data_bin": "half_data"}, "holds no 'test' pieces"),
        ({"checkpoint": "absent.pt"}, "There is no checkpoint"),
        ({"checkpoint": "text.pt"}, "not a checkpoint"),
        ({"out": "logs"}, "exists already"),
    ],
    ids=lambda value: "=".join(*value.items()) if isinstance(value, dict) else "",
)
def test_wrong_input_ends_in_a_sentence(checkpoint, data_bin, continued, tmp_path, caplog, replaced, sentence):
    for name in ("empty", "logs", "foreign", "foreign_data", "half_data"):
        (tmp_path / name).mkdir()
    (tmp_path / "logs" / "log.txt").write_text("S-0\tb-1\n")
    (tmp_path / "foreign" / "a.txt").write_text("s-9 b-1\n")
    (tmp_path / "foreign_data" / "dict.txt").write_text("the 5\n")
    (tmp_path / "half_data" / "dict.txt").write_bytes((data_bin / "dict.txt").read_bytes())
    (tmp_path / "text.pt").write_text("not a checkpoint")
    chosen = {"checkpoint": checkpoint, "data_bin": data_bin, "generated": continued, "out": tmp_path / "out"}
    chosen |= {name: tmp_path / value for name, value in replaced.items()}
    assert main([*map(str, chosen.values()), *QUICK]) == 1
    assert sentence in caplog.text
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["--help"], 0, "PROMPT_BARS=0"),
        ([], 2, "Usage: ./evaluate.sh"),
        (["absent.pt", "DATA", "GENERATED"], 2, "there is no checkpoint at absent.pt"),
        (["CHECKPOINT", ".", "GENERATED"], 2, "has no dict.txt"),
        (["CHECKPOINT", "DATA", "absent"], 2, "there is no folder absent"),
        (["CHECKPOINT", "DATA", "GENERATED", "."], 2, ". exists already"),
    ],
    ids=lambda value: " ".join(value) or "nothing" if isinstance(value, list) else "",
)
def test_the_script_says_what_it_wants(
    repository, checkpoint, data_bin, continued, tmp_path, arguments, status, sentence
):
    real = {"CHECKPOINT": str(checkpoint), "DATA": str(data_bin), "GENERATED": str(continued)}
    command = [repository / "evaluate.sh", *(real.get(argument, argument) for argument in arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == status
    assert sentence in done.stdout + done.stderr


@pytest.mark.parametrize("weights", ["", "a,b", "0,0", "-1,2", "nan"])
def test_weights_that_are_none_are_refused(weights, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["a", "b", "c", "d", f"--bleu-weights={weights}"])
    assert stop.value.code == 2
    assert "is not a list of weights" in capsys.readouterr().err


def test_ngrams_are_counted_and_drawn(report, piece_lines):
    shares = json.loads((report / "report.json").read_text())["known_ngrams_percent"]
    learnt = [line.split() for line in piece_lines["train"]]
    bigrams = {pair for words in learnt for pair in zip(words, words[1:])}
    test = [pair for line in piece_lines["test"] for pair in zip(line.split(), line.split()[1:])]
    assert shares["2"]["test"]["value"] == pytest.approx(100 * sum(pair in bigrams for pair in test) / len(test))
    assert list(shares) == list("2345678")
    assert shares["2"]["generated"]["value"] > shares["4"]["generated"]["value"]
    assert (report / "ngrams.png").stat().st_size > 5000
    assert "## n-grams of the training set" in (report / "report.md").read_text()


def test_nothing_but_the_report_is_told(run_command, checkpoint, data_bin, continued, tmp_path):
    done = run_command("python", "-m", "evaluation.report", checkpoint, data_bin, continued, tmp_path / "out", *QUICK)
    assert done.returncode == 0
    assert "DEBUG" not in done.stderr and "findfont" not in done.stderr
