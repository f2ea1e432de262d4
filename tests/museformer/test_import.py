"""Whoever imports the package keeps their logging, and hears nothing that they have not asked for."""

import subprocess
import sys

CALLER = """
import logging
before = logging.getLogger().handlers[:], logging.getLogger().level
from museformer import Museformer
model = Museformer.from_pretrained({folder!r})
song = model.sample(bars=1, seed=1, max_tokens=300)
assert (logging.getLogger().handlers[:], logging.getLogger().level) == before
print(len(song.written))
"""


def test_the_caller_keeps_their_logging(model_folder, repository):
    code = CALLER.format(folder=str(model_folder()))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=repository)
    assert (done.stdout, done.stderr, done.returncode) == ("1\n", "", 0)
