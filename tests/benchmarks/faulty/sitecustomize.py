"""What goes wrong in the stages of ``benchmarks.gpu`` that FAULT names, in every process that starts with this folder.

FAULT is ``raise``, ``kill`` or ``hang`` (and not listen to SIGTERM): that happens after the first row of a stage, and
where a stage has none (the tests), as it begins.
"""

import os
import signal
import sys
import time


def _fail():
    fault = os.environ["FAULT"]
    if fault == "raise":
        raise OSError("a planted fault")
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)


def _plant():
    from benchmarks.gpu.rows import Rows

    add = Rows.add

    def add_and_fail(rows, what, **figures):
        add(rows, what, **figures)
        _fail()

    Rows.add = add_and_fail


_command = sys.orig_argv[1:3]
if "FAULT" in os.environ and _command[:1] == ["-m"]:
    if _command[1] == "pytest":
        try:
            _fail()
        except OSError as error:  # which is but told where an interpreter begins
            raise SystemExit(str(error)) from None
    elif _command[1].startswith("benchmarks.gpu.") and not _command[1].endswith(".stages"):
        _plant()
