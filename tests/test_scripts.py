"""The user's shell scripts: help, wrong arguments, what they hand to fairseq, and songs from a checkpoint."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SCRIPTS = ["train.sh", "generate.sh", "demo.sh", "evaluate.sh", "docs/results.sh"]


def run(script, *arguments, folder=None, **environment):
    return subprocess.run(
        [folder / script if folder else REPOSITORY / script, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )


@pytest.mark.parametrize("script", SCRIPTS)
def test_help(script):
    done = run(script, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: ./{script}")


@pytest.mark.parametrize(
    ("script", "arguments", "sentence"),
    [
        ("train.sh", ["nowhere"], "nowhere has no dict.txt"),
        ("generate.sh", ["nowhere.pt", ".", "out"], "there is no checkpoint at nowhere.pt"),
        ("generate.sh", [__file__, ".", "out", "--peaces", "2"], "there is no option --peaces"),
        ("generate.sh", [__file__, __file__, "out", "--pieces", "0"], "--pieces takes a number from 1 up"),
        ("generate.sh", [__file__, __file__, "out", "--prompt-bars", "4"], "--prompt-bars goes with --prompt"),
        ("generate.sh", [__file__, __file__], "takes CHECKPOINT DICT OUT_DIR, not 2 arguments"),
        ("generate.sh", [__file__, __file__, f"{__file__}/out"], f"nothing can be written into {__file__}"),
        ("generate.sh", [__file__, __file__, f"{__file__}/"], f"{__file__} is a file"),
        ("generate.sh", [__file__, __file__, ""], "OUT_DIR is empty"),
        ("train.sh", [], "Usage: ./train.sh"),
        ("demo.sh", ["--nonsense"], "there is no option --nonsense"),
        ("demo.sh", ["here", "there"], "takes one folder"),
        ("demo.sh", [REPOSITORY], "exists already"),
    ],
)
def test_wrong_arguments_end_in_a_sentence(script, arguments, sentence):
    done = run(script, *arguments)
    assert done.returncode != 0
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("SEED", "first", "SEED must be a whole number, not 'first'"),
        ("SEED", "99999999999", "SEED must have at most nine digits"),
        ("TEMPERATURE", "hot", "TEMPERATURE must be a number above 0, not 'hot'"),
        ("REPEAT_TEMPERATURE", "0.0", "REPEAT_TEMPERATURE must be a number above 0, not '0.0'"),
        ("GUIDANCE", "-1", "GUIDANCE must be a number from 0 up, not '-1'"),
    ],
)
def test_wrong_variables_end_in_a_sentence(name, value, sentence):
    done = run("generate.sh", __file__, __file__, "out", **{name: value})
    assert done.returncode == 2
    assert done.stderr.startswith(f"generate.sh: {sentence}") and done.stderr.count("\n") == 1


@pytest.fixture
def pretended(tmp_path):
    """train.sh in a folder whose Python says how many GPUs there are and whose fairseq-train prints its arguments."""
    folder = tmp_path / "a clone"
    (folder / ".venv/bin").mkdir(parents=True)
    shutil.copy(REPOSITORY / "train.sh", folder)
    for name, text in {
        "setup.sh": "exit 0",
        ".venv/bin/python": 'echo "$GPUS"',
        ".venv/bin/fairseq-train": 'printf "%s\\n" "$@"',
    }.items():
        (folder / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (folder / name).chmod(0o755)
    (folder / "dict.txt").touch()
    return folder


@pytest.mark.parametrize(
    ("gpus", "update_freq"),
    [(0, 4), (1, 4), (2, 2), (3, 2), (4, 1), (8, 1)],
)
def test_four_pieces_an_update_or_the_next_multiple(pretended, gpus, update_freq):
    done = run("train.sh", pretended, folder=pretended, GPUS=str(gpus), RECIPE="paper")
    assert done.returncode == 0, done.stderr
    arguments = done.stdout.split("\n")
    assert arguments[arguments.index("--update-freq") + 1] == str(update_freq)
    assert ("--cpu" in arguments) == (gpus == 0)
    assert ("--fp16" in arguments) == (gpus > 0)


def test_the_cpu_may_be_chosen_beside_gpus(pretended):
    done = run("train.sh", pretended, "--cpu", folder=pretended, GPUS="8", PIECES_PER_UPDATE="1", RECIPE="paper")
    assert done.returncode == 0, done.stderr
    assert "--fp16" not in done.stdout


def test_pieces_that_do_not_divide_are_refused(pretended):
    done = run("train.sh", pretended, folder=pretended, GPUS="8", PIECES_PER_UPDATE="4")
    assert done.returncode == 2
    assert "PIECES_PER_UPDATE=4 is not divisible by 8" in done.stderr


@pytest.mark.parametrize("name", ["MAX_UPDATE", "PIECES_PER_UPDATE", "PIECES_PER_BATCH", "SAVE_EVERY"])
@pytest.mark.parametrize("value", ["0", "abc", "1.5", "10 20"])
def test_numbers_that_are_none_are_refused(pretended, name, value):
    done = run("train.sh", pretended, folder=pretended, GPUS="0", **{name: value})
    assert done.returncode == 2
    assert done.stderr == f"train.sh: {name} must be a whole number from 1 up, not '{value}'.\n"


def test_the_fast_recipe_is_the_first(pretended):
    done = run("train.sh", pretended, folder=pretended, GPUS="2", PRECISION="fp16", MAX_UPDATE="1000")
    assert done.returncode == 0, done.stderr
    arguments = done.stdout.split("\n")
    expected = {
        "--arch": "museformer_rotary",
        "--optimizer": "muon",
        "--lr": "0.04",
        "--adamw-lr": "6e-3",
        "--window-tokens": "1280,2560,10240",
        "--window-updates": "300,900",
    }
    assert {name: arguments[arguments.index(name) + 1] for name in expected} == expected
    assert "--fp16-no-flatten-grads" in arguments
    assert "--truncate-train" not in arguments


@pytest.mark.parametrize(
    ("given", "tokens", "updates"),
    [
        ({"MAX_UPDATE": "1"}, "1280,2560,10240", "1,2"),
        ({"MAX_UPDATE": "3"}, "1280,2560,10240", "1,2"),
        ({"WINDOW_TOKENS": "2560,10240", "WINDOW_UPDATES": "7"}, "2560,10240", "7"),
        ({"WINDOW_TOKENS": "2560"}, "2560", ""),
        ({"WINDOW_UPDATES": "5,7"}, "1280,2560,10240", "5,7"),
    ],
    ids=["one_update", "three_updates", "both", "one_length", "updates_alone"],
)
def test_lengths_of_windows_and_their_updates_belong_together(pretended, given, tokens, updates):
    done = run("train.sh", pretended, folder=pretended, GPUS="0", **given)
    assert done.returncode == 0, done.stderr
    arguments = done.stdout.split("\n")
    assert arguments[arguments.index("--window-tokens") + 1] == tokens
    assert arguments[arguments.index("--window-updates") + 1] == updates


def test_a_model_of_fairseqs_is_trained_by_adam(pretended):
    done = run("train.sh", pretended, folder=pretended, GPUS="0", ARCH="lstm_lm")
    assert done.returncode == 0, done.stderr
    arguments = done.stdout.split("\n")
    assert arguments[arguments.index("--optimizer") + 1] == "adam"
    assert "--window-tokens" in arguments and "--dropout" in arguments
    assert not {"--adamw-lr", "--attention-dropout", "--bf16"} & set(arguments)
    done = run("train.sh", pretended, folder=pretended, GPUS="2", ARCH="lstm_lm", OPTIMIZER="muon")
    assert "--adamw-lr" in done.stdout and "--bf16" not in done.stdout  # so that what is told is of Muon
    for recipe, optimizer, others in (("fast", "sgd", "muon or adam"), ("paper", "muon", "adam")):
        done = run("train.sh", pretended, folder=pretended, GPUS="0", RECIPE=recipe, OPTIMIZER=optimizer)
        sentence = f"train.sh: the {recipe} recipe trains by {others}, not by OPTIMIZER={optimizer}.\n"
        assert (done.returncode, done.stderr) == (2, sentence)


def test_an_unknown_recipe_is_refused(pretended):
    done = run("train.sh", pretended, folder=pretended, GPUS="0", RECIPE="slow")
    assert done.returncode == 2
    assert done.stderr == "train.sh: RECIPE=slow is neither fast nor paper.\n"


PRETENDED_PYTHON = """
printf 'python %s\\n' "$*" >>"$CALLS"
if [[ "$*" == *make_splits* ]]; then
    mkdir -p "$4"
    printf 'one.txt\\ntwo.txt\\n' >"$4/test.pieces"
elif [[ "$*" == *make_songs* ]]; then
    mkdir -p "$3"
    touch "$3/1.mid" "$3/2.mid"
fi
"""


@pytest.fixture
def pretended_demo(tmp_path):
    """demo.sh in a folder whose commands do no more than write what they were told, and that folder's weights."""
    folder = tmp_path / "a clone"
    (folder / ".venv/bin").mkdir(parents=True)
    shutil.copy(REPOSITORY / "demo.sh", folder)
    said = 'printf "%s %s, at most %s and at least %s\\n" "${0##*/}" "$*" "${MAX_LEN-}" "${MIN_LEN-}" >>"$CALLS"\n'
    for name, text in {
        "setup.sh": "exit 0",
        "generate.sh": f'{said}mkdir -p "$3" && touch "$3/generated_0.mid"',
        "train.sh": f'{said}echo "epoch 001: 1 / 2 loss=1.5, ppl=2.8"',
        ".venv/bin/python": PRETENDED_PYTHON,
        ".venv/bin/fairseq-preprocess": said,
        ".venv/bin/fairseq-eval-lm": f'{said}echo "Loss (base 2): 1.5, Perplexity: 2.8"',
    }.items():
        (folder / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (folder / name).chmod(0o755)
    weights = folder / "pretrained/six_track/model.pt"
    weights.parent.mkdir(parents=True)
    weights.touch()
    return folder, weights


@pytest.fixture
def pretended_writer(tmp_path):
    """generate.sh in a folder whose fairseq-interactive leaves its threads and arguments in files, and fails."""
    folder = tmp_path / "a clone"
    (folder / ".venv/bin").mkdir(parents=True)
    shutil.copy(REPOSITORY / "generate.sh", folder)
    (folder / "dict.txt").touch()
    for name, text in {
        "setup.sh": "exit 0",
        ".venv/bin/fairseq-interactive": 'cd "${0%/*}/../.." && echo "${OMP_NUM_THREADS:-all}" >threads && '
        'printf "%s\\n" "$@" >arguments; exit 1',
    }.items():
        (folder / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (folder / name).chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("options", "room"),
    [
        (["--repeats", "9-12=1-4, 16=new"], 20480),
        (["--form", "A8i8A32 9-12=1-4,16=new"], 640 * 48),
    ],
    ids=["repeats", "form"],
)
def test_what_repeats_is_handed_on_with_room_for_the_bars(pretended_writer, options, room):
    (pretended_writer / "model.pt").touch()
    run("generate.sh", pretended_writer / "model.pt", pretended_writer, "songs", *options, folder=pretended_writer)
    given = (pretended_writer / "arguments").read_text().split("\n")
    assert "=".join(options) in given
    assert given[given.index("--max-len-b") + 1] == str(room)


def test_a_list_of_forms_is_handed_on_with_room_for_the_longest(pretended_writer):
    (pretended_writer / "model.pt").touch()
    (pretended_writer / "forms.txt").write_text("A8 5-8=1-4\ni4A32B32o2 9-40=new\nA8B8\n")
    arguments = [pretended_writer / "model.pt", pretended_writer, "songs", "--form", pretended_writer / "forms.txt"]
    run("generate.sh", *arguments, folder=pretended_writer)
    given = (pretended_writer / "arguments").read_text().split("\n")
    assert f"--form={pretended_writer}/forms.txt" in given
    assert given[given.index("--max-len-b") + 1] == str(640 * 70)


@pytest.mark.parametrize(
    ("megabytes", "given", "threads"), [(4, "", "1"), (30, "", "all"), (4, "2", "2"), (30, "2", "2")]
)
def test_small_models_write_with_one_thread_unless_told_otherwise(pretended_writer, megabytes, given, threads):
    checkpoint = pretended_writer / "model.pt"
    with checkpoint.open("wb") as file:
        file.truncate(megabytes * 1_000_000)
    done = run("generate.sh", checkpoint, pretended_writer, "songs", folder=pretended_writer, OMP_NUM_THREADS=given)
    assert "nothing was produced" in done.stderr
    assert (pretended_writer / "threads").read_text() == f"{threads}\n"


def test_songs_that_were_done_before_writing_failed_are_kept(pretended_writer):
    (pretended_writer / "model.pt").touch()
    fairseq = pretended_writer / ".venv/bin/fairseq-interactive"
    fairseq.write_text("#!/usr/bin/env bash\nprintf 'H-0\\t-1.0\\tb-1\\n'\nexit 1\n")
    out = pretended_writer / "songs"
    done = run("generate.sh", pretended_writer / "model.pt", pretended_writer, out, folder=pretended_writer)
    assert done.returncode == 1
    assert "writing ended before all songs were done" in done.stderr
    assert f"the tokens of songs that were done are in {out}/generated.txt" in done.stderr
    assert (out / "generated.txt").read_text() == "H-0\t-1.0\tb-1\n"


@pytest.mark.parametrize(
    ("options", "environment", "temperatures"),
    [
        ([], {}, ""),
        (["--bars", "8"], {}, ""),
        (["--form", "A4B4"], {}, ""),
        (["--bars", "8"], {"FAMILY_TEMPERATURES": "pitch=0.9"}, "pitch=0.9"),
    ],
    ids=["open", "bars", "form", "told"],
)
def test_songs_from_scratch_are_drawn_as_the_model_has_it_unless_told_otherwise(
    pretended_writer, options, environment, temperatures
):
    (pretended_writer / "model.pt").touch()
    arguments = [pretended_writer / "model.pt", pretended_writer, "songs", *options]
    run("generate.sh", *arguments, folder=pretended_writer, **environment)
    given = (pretended_writer / "arguments").read_text().split("\n")
    assert given[given.index("--family-temperatures") + 1] == temperatures


def run_demo(folder, *arguments, **environment):
    """The finished demo.sh and what it called, a line each."""
    calls = folder / "calls"
    done = run("demo.sh", *arguments, folder=folder, CALLS=str(calls), **environment)
    return done, calls.read_text().splitlines() if calls.exists() else []


def test_the_quick_demo_is_what_the_weights_that_ship_write(pretended_demo, tmp_path):
    folder, weights = pretended_demo
    done, calls = run_demo(folder, "--quick", tmp_path / "my demo")
    assert done.returncode == 0, done.stderr
    out = tmp_path / "my demo"
    written, pictures, ordered, songs, filled, accompanied = calls
    told = f"{weights} {weights.parent} {out}/music --pieces 4 --form A4B4A4o2"
    assert written == f"generate.sh {told}, at most  and at least 0"
    assert pictures == f"python -m evaluation.piano_roll {out}/music/generated_0.mid {out}/pictures/music"
    assert f"{out}/ordered --form " in ordered
    assert songs.startswith(f"python -m examples.make_songs {out}/own ")
    assert f"{out}/filled --fill {out}/own/1.mid --fill-bars " in filled
    assert f"{out}/accompanied --accompany {out}/own/2.mid" in accompanied


def test_the_whole_demo_begins_with_music_too(pretended_demo, tmp_path):
    folder, weights = pretended_demo
    done, calls = run_demo(folder, tmp_path / "out", MIN_LEN="100")
    assert done.returncode == 0, done.stderr
    written = [call for call in calls if call.startswith("generate.sh")]
    assert len(written) == 7
    assert calls[0] == written[0]
    assert f"{weights} " in written[0] and written[0].endswith("at most  and at least 0")
    for call in written[4:]:
        assert "checkpoint_best.pt" in call and call.endswith("at most 5000 and at least 100")
    assert done.stdout.index("weights that ship") < done.stdout.index("== 1. Songs") < done.stdout.index("== Done")


def test_without_weights_the_demo_trains_some(pretended_demo, tmp_path):
    folder, weights = pretended_demo
    weights.unlink()
    done, calls = run_demo(folder, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert f"No weights are at {weights}: the demo begins with training some.\n" in done.stdout
    assert "make_songs" in calls[0]
    assert len([call for call in calls if call.startswith("generate.sh")]) == 3


def test_without_weights_nothing_is_quick(pretended_demo, tmp_path):
    folder, weights = pretended_demo
    weights.unlink()
    done, calls = run_demo(folder, tmp_path / "out", "--quick")
    assert done.returncode == 2
    assert done.stderr.startswith(f"demo.sh: no weights are at {weights}, so that --quick leaves nothing to do")
    assert not calls
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_quick_demo_draws_what_the_shipped_weights_write(tmp_path):
    if not (REPOSITORY / "pretrained/six_track/model.pt").is_file():
        pytest.skip("no weights are in pretrained/six_track yet")
    done = run("demo.sh", "--quick", tmp_path / "out", MAX_LEN="300")
    assert done.returncode == 0, done.stderr
    songs = [f"generated_{number}" for number in range(4)]
    assert sorted(path.stem for path in (tmp_path / "out/music").glob("*.mid")) == songs
    assert sorted(path.stem for path in (tmp_path / "out/pictures/music").glob("*.png")) == songs


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """A converted checkpoint with random weights and its dictionary, in a folder with a space in its name."""
    from data_prep.tokens.vocabulary import SIX_TRACK
    from museformer_plugin.convert_checkpoint import convert

    folder = tmp_path_factory.mktemp("a model")
    convert(REPOSITORY / "tests/golden/model/six_track_checkpoint.pt", folder / "checkpoint.pt")
    (folder / "dict.txt").write_text(SIX_TRACK.dict_txt())
    return folder


def test_songs_from_scratch(converted, tmp_path):
    out = tmp_path / "new songs"
    done = run("generate.sh", converted / "checkpoint.pt", converted, out, "--pieces", "2", MAX_LEN="150")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in out.iterdir()) == [
        "generated.txt",
        "generated_0.mid",
        "generated_1.mid",
        "index.html",
        "songs.json",
    ]
    again = run("generate.sh", converted / "checkpoint.pt", converted, out, MAX_LEN="150")
    assert again.returncode != 0
    assert "holds songs already" in again.stderr


def test_songs_in_bfloat16(converted, tmp_path):
    """The same command writes the same tokens, and others than in float32."""
    written = {}
    for name, precision in {"half": "bf16", "again": "bf16", "whole": "fp32"}.items():
        out = tmp_path / name
        done = run("generate.sh", converted / "checkpoint.pt", converted, out, MAX_LEN="150", PRECISION=precision)
        assert done.returncode == 0, done.stderr
        written[name] = [line for line in (out / "generated.txt").read_text().splitlines() if line[:2] in ("H-", "P-")]
    assert written["half"] == written["again"] != written["whole"]


def test_guidance_and_temperature_are_handed_on(pretended_writer):
    (pretended_writer / "model.pt").touch()
    arguments = [pretended_writer / "model.pt", pretended_writer, "songs"]
    run("generate.sh", *arguments, folder=pretended_writer, GUIDANCE="0.75", TEMPERATURE="1.5", REPEAT_TEMPERATURE="1")
    given = (pretended_writer / "arguments").read_text().split("\n")
    assert "--guidance=0.75" in given and "--repeat-temperature=1" in given
    assert given[given.index("--temperature") + 1] == "1.5"


def test_temperatures_of_families_are_handed_on(converted, tmp_path):
    out = tmp_path / "out"
    done = run("generate.sh", converted / "checkpoint.pt", converted, out, FAMILY_TEMPERATURES="pich=0.7")
    assert done.returncode == 1
    assert "--family-temperatures: there is no family 'pich'" in done.stderr


def test_a_precision_that_is_none(converted, tmp_path):
    done = run("generate.sh", converted / "checkpoint.pt", converted, tmp_path / "out", PRECISION="int8")
    assert done.returncode == 2
    assert done.stderr == "generate.sh: PRECISION=int8 is not fp16, bf16 or fp32.\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--bars", "0"], "--bars takes a whole number from 1 up, not '0'"),
        (["--bars", "many"], "--bars takes a whole number from 1 up, not 'many'"),
        (["--density", "-3"], "--density takes a whole number, not '-3'"),
        (["--key", "H"], "--key: 'H' is not a key"),
    ],
    ids=["no_bars", "bars", "density", "key"],
)
def test_wishes_that_are_none_are_told_before_anything_is_written(converted, tmp_path, arguments, sentence):
    done = run("generate.sh", converted / "checkpoint.pt", converted, tmp_path / "out", *arguments)
    assert done.returncode == 2
    assert f"generate.sh: {sentence}" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_continued_song_keeps_its_bars_and_key(converted, golden, tmp_path):
    from miditoolkit import MidiFile

    song = golden / "encode/midi/synth_minor_f.mid"
    out = tmp_path / "continued"
    arguments = ["--prompt", song, "--prompt-bars", "1"]
    done = run("generate.sh", converted / "checkpoint.pt", converted / "dict.txt", out, *arguments, MAX_LEN="400")
    assert done.returncode == 0, done.stderr

    def first_bar(path):
        midi = MidiFile(path)
        bar = 4 * midi.ticks_per_beat
        return sorted(
            {(n.start * 12 // midi.ticks_per_beat, n.pitch) for i in midi.instruments for n in i.notes if n.start < bar}
        )

    assert first_bar(out / "generated_0.mid") == first_bar(song)


def test_a_short_song_is_continued_behind_its_last_bar(converted, golden, tmp_path):
    out = tmp_path / "continued"
    song = golden / "encode/midi/synth_minor_f.mid"  # 8 bars are kept where it is not said how many: it has fewer
    done = run("generate.sh", converted / "checkpoint.pt", converted, out, "--prompt", song, MAX_LEN="400")
    assert done.returncode == 0, done.stderr
    given = json.loads((out / "songs.json").read_text())["songs"][0]["given_bars"]
    assert given[0][0] == 1 and given[0][1] < 8
    refused = run(
        "generate.sh", converted / "checkpoint.pt", converted, tmp_path / "out", "--prompt", song, "--prompt-bars", "8"
    )
    assert "8 bars cannot be kept" in refused.stderr


def test_given_tracks_that_a_song_lacks_are_told_before_anything_is_written(converted, golden, tmp_path):
    song = golden / "encode/midi/synth_minor_f.mid"
    arguments = ["--accompany", song, "--given", "banjo"]
    done = run("generate.sh", converted / "checkpoint.pt", converted, tmp_path / "out", *arguments)
    assert done.returncode == 1
    assert "no banjo: the song has" in done.stderr
    assert "nothing was produced" not in done.stderr  # the model has not been asked


def test_a_song_the_model_cannot_spell_is_no_prompt(converted, golden, tmp_path):
    song = golden / "encode/midi/synth_ts_5_8.mid"
    done = run("generate.sh", converted / "checkpoint.pt", converted, tmp_path / "out", "--prompt", song)
    assert done.returncode != 0
    assert "cannot be read as a song: not in 4/4: bar 1 is in 5/8" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"ARCH": "museformer_tiny"}, "ARCH=museformer_tiny is not read here: SIZE and MODELS say what is trained"),
        ({"RECIPE": "slow"}, "RECIPE=slow is neither fast nor paper"),
        ({"MODELS": "museformer lstm:many"}, "MODELS: lstm:many is not a name, or a name, a colon and updates"),
        ({"MODELS": "longformer:9 reformer"}, "ask for reformer_rotary_tiny, which is no architecture of this plugin"),
        ({"MODELS": "transformer", "RECIPE": "paper"}, "ask for transformer_tiny, which is no architecture of this"),
        ({"MODELS": "lstm", "SIZE": "rotary"}, "the model lstm has the size of tiny ones, not of SIZE=rotary"),
        ({"UPDATES": "abc"}, "UPDATES must be a whole number from 1 up, not 'abc'"),
        ({"PROMPT_BARS": "-1"}, "PROMPT_BARS must be a whole number, not '-1'"),
        ({"PIECES": "08"}, "PIECES must be a whole number from 1 up, not '08'"),
        ({"SEEDS": "1 x"}, "SEEDS must be whole numbers, not '1 x'"),
        ({}, "there is no list of songs at"),
    ],
    ids=[
        "arch",
        "recipe",
        "models",
        "unknown",
        "translation",
        "size",
        "updates",
        "prompts",
        "pieces",
        "seeds",
        "lists",
    ],
)
def test_results_of_settings_that_mean_nothing(tmp_path, environment, sentence):
    done = run("docs/results.sh", tmp_path, tmp_path, tmp_path / "out", **environment)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert not (tmp_path / "out").exists()
