"""Stages that fail, hang, are killed or do not begin: the run ends in time with what it had."""

import os
import signal
import subprocess
import sys
import tarfile
import textwrap
import time

import pytest

from benchmarks.gpu import runner
from benchmarks.gpu.report import write_report
from benchmarks.gpu.rows import Rows, read_rows
from benchmarks.gpu.runner import Stage, run_stages

# what a stage may do after its first row, and how the table speaks of it
FAULTS = {
    "raises": ("raise OSError('no such device')", "failed with status 1"),
    "hangs": ("import time; time.sleep(60)", "stopped after 3 s"),
    "hangs and does not listen": (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)",
        "stopped after 3 s",
    ),
    "is killed": ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "killed by SIGKILL"),
    "leaves a grandchild with its pipe": (
        "import subprocess; subprocess.Popen(['sleep', '60']); raise SystemExit(3)",
        "failed with status 3",
    ),
}


@pytest.fixture(autouse=True)
def short_times(monkeypatch):
    monkeypatch.setattr(runner, "_TO_END", 0.3)
    monkeypatch.setattr(runner, "GRACE", 0.5)
    monkeypatch.setattr(runner, "LEAST", 0.1)


@pytest.fixture
def stage(repository, tmp_path):
    """A function that makes a stage of a row and some code behind it."""

    def make(name, code="", seconds=30.0):
        program = f"""
            from pathlib import Path
            from benchmarks.gpu.rows import Rows
            Rows({name!r}, Path({str(tmp_path / "rows.jsonl")!r})).add("begun", ms=1.25)
        """
        command = [sys.executable, "-c", textwrap.dedent(program) + code]
        return Stage(name, seconds, command, {"PYTHONPATH": str(repository)})

    return make


@pytest.fixture
def run(tmp_path):
    """A function that runs stages and returns their verdicts; the report lies in ``tmp_path``."""
    logs = tmp_path / "logs"
    logs.mkdir()

    def run(stages, seconds=30.0):
        outcomes = run_stages(stages, seconds, logs, lambda found: write_report(tmp_path, "Trial", found, logs))
        return {outcome.name: outcome.verdict for outcome in outcomes}

    return run


@pytest.mark.parametrize(("code", "verdict"), FAULTS.values(), ids=FAULTS.keys())
def test_a_stage_that_fails_leaves_its_rows_and_the_next_goes_on(stage, run, tmp_path, code, verdict):
    limit = 3.0 if "stopped" in verdict else 30.0  # the row must be there before: an interpreter takes a while
    began = time.monotonic()
    assert run([stage("first", f"\n{code}", limit), stage("second")]) == {"first": verdict, "second": "done"}
    assert time.monotonic() - began < 30
    assert [row["stage"] for row in read_rows(tmp_path / "rows.jsonl")] == ["first", "second"]
    table = (tmp_path / "table.md").read_text()
    assert "| first | begun | ms 1.25 |" in table
    if "raise OSError" in code:
        assert "OSError: no such device" in table


@pytest.mark.parametrize("slow", range(3))
def test_the_clock_runs_out_in_every_stage(stage, run, tmp_path, slow):
    stages = [stage(str(n), "\nimport time; time.sleep(60)" if n == slow else "") for n in range(3)]
    began = time.monotonic()
    verdicts = run(stages, seconds=6.0)
    assert time.monotonic() - began < 8
    expected = ["done"] * slow + ["stopped"] + ["not begun: no time was left"] * (2 - slow)
    assert [verdict.split(" after")[0] for verdict in verdicts.values()] == expected
    assert [row["stage"] for row in read_rows(tmp_path / "rows.jsonl")] == [str(n) for n in range(slow + 1)]
    table = (tmp_path / "table.md").read_text()
    assert all(f"| {n} | " in table for n in range(3))


def test_a_command_that_is_not_there(run):
    verdicts = run([Stage("first", 5.0, ["/no/such/program"]), Stage("second", 5.0, ["true"])])
    assert verdicts["first"].startswith("failed: ")
    assert verdicts["second"] == "done"


def test_told_to_end_it_leaves_what_it_has(repository, tmp_path):
    program = f"""
        from pathlib import Path
        from benchmarks.gpu.report import write_report
        from benchmarks.gpu.runner import Stage, run_stages
        out, logs = Path({str(tmp_path)!r}), Path({str(tmp_path)!r}, "logs")
        logs.mkdir()
        commands = {{"first": ["echo", "all of it"], "second": ["sleep", "60"], "third": ["true"]}}
        stages = [Stage(name, 60, command) for name, command in commands.items()]
        found = run_stages(stages, 90, logs, lambda found: write_report(out, "Trial", found, logs))
        print("END", [outcome.verdict for outcome in found])
    """
    command = [sys.executable, "-u", "-c", textwrap.dedent(program)]
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        for line in process.stdout:
            if line.startswith("== second"):
                time.sleep(0.3)
                process.send_signal(signal.SIGTERM)
                break
        rest = process.stdout.read()
    assert "END ['done', 'stopped with the whole run']" in rest
    assert "stopped with the whole run" in (tmp_path / "table.md").read_text()
    with tarfile.open(tmp_path / "rest.tar.gz") as archive:
        assert archive.extractfile("logs/first.txt").read() == b"all of it\n"


def test_a_row_cut_off_does_not_hide_the_others(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = Rows("stage", path)
    rows.add("one", ms=0.123456, name="x")
    rows.add("two", ms=12)
    path.write_text(path.read_text() + '{"stage": "sta')
    expected = [
        {"stage": "stage", "what": "one", "ms": 0.1235, "name": "x"},
        {"stage": "stage", "what": "two", "ms": 12},
    ]
    assert read_rows(path) == expected
