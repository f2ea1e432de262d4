"""What the commands share: faults are told in a sentence and become an exit status."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable

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
