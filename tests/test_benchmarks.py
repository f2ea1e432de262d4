"""The benchmarks run, on pieces too short to say anything."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "rows"),
    [
        ("recipes --tokens 200 --turns 1", ["the paper's model, Adam", "our model, Muon"]),
        ("bfloat16 --tokens 200 --streams 1 --length 200 --turns 1", ["update of 200 tokens", "step of 1 streams"]),
        ("training --lengths 200 --repeats 1 --device cpu --variants museformer full_attention", ["full_attention"]),
        (
            "architectures longformer_tiny --update-lengths 100 --step-lengths 20 30 --repeats 1",
            ["longformer_tiny | 659,424"],
        ),
    ],
    ids=["recipes", "bfloat16", "training", "architectures"],
)
def test_it_prints_its_table(command, rows):
    done = subprocess.run(
        [sys.executable, "-m", *f"benchmarks.{command}".split()], capture_output=True, text=True, cwd=REPOSITORY
    )
    assert done.returncode == 0, done.stderr
    table = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in table} == {table[0].count("|")}
    for row in rows:
        assert any(row in line for line in table[2:])
    assert "does not fit" not in done.stdout
