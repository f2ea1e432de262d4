"""The stages of gpu.sh themselves, on the CPU under the interpreter: each fails once in every way, and all is told."""

import os
import subprocess
import sys
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import pytest

from benchmarks.gpu.report import write_report
from benchmarks.gpu.rows import read_rows
from benchmarks.gpu.runner import run_stages
from benchmarks.gpu.stages import all_stages, environment

FAULTY = Path(__file__).with_name("faulty")
VERDICTS = {"raise": "failed with status 1", "kill": "killed by SIGKILL"}


@pytest.mark.slow
def test_every_stage_fails_and_all_rows_are_there(tmp_path):
    """The first row of every stage is measured, then it goes wrong; ``test_runner`` has stages that hang."""
    rows, logs, verdicts = tmp_path / "rows.jsonl", tmp_path / "logs", {}
    logs.mkdir()
    stages = []
    for stage, fault in zip(all_stages("cpu", rows, None, tmp_path / "site"), cycle(VERDICTS)):
        path = os.pathsep.join([str(FAULTY), stage.environment["PYTHONPATH"]])
        faulty = {**stage.environment, "PYTHONPATH": path, "FAULT": fault}
        stages.append(replace(stage, seconds=200.0, environment=faulty))
        # where a process of compiling is killed the stage itself goes on to say so
        verdicts[stage.name] = VERDICTS["raise" if stage.name == "compiling" else fault]
    outcomes = run_stages(stages, 1800, logs, lambda found: write_report(tmp_path, "Trial", found, logs))
    assert {outcome.name: outcome.verdict for outcome in outcomes} == verdicts
    measured = {row["stage"] for row in read_rows(rows)}
    assert measured == {"imports", "compiling", "checking", "operator", "update", "decoding"}
    assert "OSError: a planted fault" in (tmp_path / "table.md").read_text()


def test_paths_of_wheels_come_before_those_given(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", "given")
    paths = environment(tmp_path)["PYTHONPATH"].split(os.pathsep)
    assert paths[0] == str(tmp_path)
    assert paths[-1] == "given"


@pytest.mark.parametrize("missing", [["fairseq"], ["fairseq", "numpy"]], ids=["fairseq", "NumPy"])
def test_the_operator_is_timed_without(missing, repository, tmp_path):
    """An interpreter that refuses to import them: without NumPy what PyTorch does alone is timed."""
    program = f"""
import runpy, sys
from importlib.abc import MetaPathFinder

class Refuse(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] in {missing!r}:
            raise ModuleNotFoundError(f"refused: {{name}}", name=name)

sys.meta_path.insert(0, Refuse())
sys.argv = ["operating", "--device", "cpu", "--tokens", "30", "--rows", {str(tmp_path / "rows.jsonl")!r}]
runpy.run_module("benchmarks.gpu.operating", run_name="__main__")
"""
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(repository)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    rows = {row["what"]: row for row in read_rows(tmp_path / "rows.jsonl")}
    assert rows["SDPA: causal over everything"]["both_ms"] > 0, done.stderr
    if "numpy" in missing:
        assert "no layout without NumPy" in rows["ours"]["failed"]
    else:
        assert done.returncode == 0, done.stderr
        assert rows["ours, triton: whole operator"]["both_ms"] > 0
