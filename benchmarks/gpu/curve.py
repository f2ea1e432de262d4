"""The losses of a training, line by line, out of the log that ``fairseq-train --log-format json`` writes."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

_LINE = re.compile(r"\| (train_inner|valid) \| (\{.*\})\s*$")


def losses(log: str) -> list[dict[str, object]]:
    """What ``log`` says of updates and validations, in order; each with its ``kind``."""
    found = (_LINE.search(line) for line in log.splitlines())
    return [{"kind": match[1], **json.loads(match[2])} for match in found if match]


def append_losses(log: Path, curve: Path) -> int:
    """Append those of ``log`` to ``curve``, a file of JSON lines; how many."""
    new = losses(log.read_text(errors="replace")) if log.exists() else []
    with curve.open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in new)
    return len(new)


if __name__ == "__main__":
    print(append_losses(Path(sys.argv[1]), Path(sys.argv[2])), "lines")
