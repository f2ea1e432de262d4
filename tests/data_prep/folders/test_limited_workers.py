import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_prep.folders.limited_workers import Failure, Limits, run_limited

LIMITS = Limits(seconds=1, memory_mib=100)


def behave(item):
    """Do what the item says."""
    if item == "hang":
        time.sleep(60)
    if item == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if item == "leave":
        os._exit(3)
    if item == "eat":
        return len(bytearray(500 * 2**20))
    if item == "raise":
        raise LookupError("nothing\nhere")
    return item * 2


def own_process(_item):
    return os.getpid()


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ("hang", "too slow: it takes more than 1 s"),
        ("die", "crash: the process that read it was killed by SIGKILL"),
        ("leave", "crash: the process that read it was ended with exit code 3"),
        ("eat", "too large: it takes more than 100 MiB of memory"),
        ("raise", "crash: here"),
    ],
)
@pytest.mark.parametrize("workers", [1, 3])
def test_one_bad_item_costs_only_itself(item, reason, workers):
    items = [1, 2, item, 3, 4, 5]
    outcomes = dict(run_limited(behave, items, workers, LIMITS))
    assert outcomes == {1: 2, 2: 4, item: Failure(reason), 3: 6, 4: 8, 5: 10}


def test_all_bad_at_once_do_not_wait_for_each_other():
    start = time.monotonic()
    outcomes = list(run_limited(behave, ["hang"] * 4, 4, LIMITS))
    assert len(outcomes) == 4 and all(isinstance(outcome, Failure) for _, outcome in outcomes)
    assert time.monotonic() - start < 3


def test_no_items():
    assert list(run_limited(behave, [], 2, LIMITS)) == []


def test_closing_ends_the_workers():
    outcomes = run_limited(own_process, list(range(50)), 2, LIMITS)
    worker = next(outcomes)[1]
    assert is_running(worker)
    outcomes.close()
    assert not is_running(worker)


def test_workers_end_when_their_parent_is_killed(tmp_path):
    program = f"""
import os, time
from pathlib import Path
from data_prep.folders.limited_workers import Limits, run_limited
def note_and_wait(item):
    Path({str(tmp_path)!r}, str(os.getpid())).touch()
    if item: time.sleep(0.5)
list(run_limited(note_and_wait, [0, 1] * 50, 3, Limits(seconds=5)))
"""
    parent = subprocess.Popen([sys.executable, "-c", program])
    wait_until(lambda: len(list(tmp_path.iterdir())) == 3)
    parent.kill()
    parent.wait()
    workers = [int(path.name) for path in tmp_path.iterdir()]
    wait_until(lambda: not any(is_running(worker) for worker in workers))


def wait_until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_items_are_taken_as_workers_become_free():
    taken = []

    def items():
        for item in range(20):
            taken.append(item)
            yield item

    outcomes = run_limited(behave, items(), 2, LIMITS)
    next(outcomes)
    assert len(taken) <= 4
    assert len(list(outcomes)) == 19
