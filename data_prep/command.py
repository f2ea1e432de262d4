"""What the commands share: faults are told in a sentence and become an exit status."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Callable

from data_prep.folders.limited_workers import Limits
from data_prep.tokens.conditions import parse_bpm
from data_prep.tokens.vocabulary import TokenError

_logger = logging.getLogger(__name__)


class CommandError(Exception):
    """The command cannot do what it was asked to; the message is a sentence for the user."""


def run_command(action: Callable[[], int], interrupted: str) -> int:
    """The exit status of ``action``, or 1 after telling why it raised CommandError or OSError.

    Ctrl-C tells ``interrupted`` and gives 130, as shells do.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        return action()
    except CommandError as error:
        _logger.error("%s", error)
        return 1
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        _logger.error("%s%s.", error.strerror or error, where)
        return 1
    except KeyboardInterrupt:
        _logger.error("%s", interrupted)
        return 130


def positive(text: str) -> int:
    """The type of an option that is a whole number, at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number


def tempo(text: str) -> float:
    """The type of an option that is a tempo, in quarter notes a minute."""
    try:
        return parse_bpm(text)
    except TokenError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_limit_options(parser: argparse.ArgumentParser) -> None:
    """``--workers``, ``--time-limit`` and ``--memory-limit``: how a run over many files reads them."""
    parser.add_argument(
        "--workers",
        type=positive,
        default=len(os.sched_getaffinity(0)),
        help="files worked on at the same time (default: the CPU cores available, here %(default)s)",
    )
    for limit, unit, default in (("time", "SECONDS", Limits.seconds), ("memory", "MIB", Limits.memory_mib)):
        parser.add_argument(
            f"--{limit}-limit",
            type=positive,
            default=int(default),
            metavar=unit,
            help=f"reject a file that takes more {limit} (default: %(default)s)",
        )
