"""What ``fairseq-train`` makes of its options, without data: the task and the configuration."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from fairseq import options, tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.tasks import FairseqTask
from omegaconf import DictConfig

from benchmarks.pieces import six_track_dictionary


def configured(arguments: Sequence[str]) -> tuple[FairseqTask, DictConfig]:
    """The task with the six-track dictionary, and the configuration that ``arguments`` of fairseq-train give."""
    with tempfile.TemporaryDirectory() as folder:
        six_track_dictionary().save(f"{folder}/dict.txt")
        plugin = Path(__file__).resolve().parent.parent / "museformer_plugin"
        task = ["--user-dir", str(plugin), "--task", "museformer_language_modeling"]
        args = options.parse_args_and_arch(options.get_training_parser(), [folder, *task, *arguments])
        cfg = convert_namespace_to_omegaconf(args)
        return tasks.setup_task(cfg.task), cfg
