"""Trains models one after the other in one process: python train_in_turn.py FILE, of fairseq-train's arguments, JSON.

Several processes of it, each with its ``--distributed-rank``, meet once and are told apart from then on.
"""

import json
import sys
from pathlib import Path

from fairseq_cli.train import cli_main

for arguments in json.loads(Path(sys.argv[1]).read_text()):
    sys.argv[1:] = arguments
    cli_main()
