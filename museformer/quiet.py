"""fairseq's loggers and warnings kept from whoever uses this as a library."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def logging_as_it_was() -> Iterator[None]:
    """Leave the root logger as it is before, and show no warnings of what is done meanwhile."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
