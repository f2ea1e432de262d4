"""The attention operator without the rest of the plugin: importing that imports fairseq, which it does not need."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType


def leave_fairseq_out() -> None:
    """Let ``museformer_plugin.fc_attention`` be imported without what ``museformer_plugin/__init__.py`` imports."""
    package = ModuleType("museformer_plugin")
    package.__path__ = [str(Path(__file__).resolve().parents[2] / "museformer_plugin")]
    sys.modules["museformer_plugin"] = package
