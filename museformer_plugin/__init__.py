"""Museformer for fairseq: what ``--user-dir`` points at.

Bar: a measure. Onset position: 1/12 of a quarter note. Structure bars: the earlier bars, at fixed
distances, that repetition makes likely to matter (paper: 1, 2, 4, 8, 12, 16, 24, 32). Fine-grained
attention: to the tokens of the structure bars and of the own bar so far. Coarse-grained attention:
to one summary vector per other complete bar. Prefix: the begin token, outside every bar. Piece: one
song, one training example.

Follow one song: ``dataset`` (pieces with bars and beats) -> ``models`` (``embedding``, ``layer``,
``fc_attention``) -> ``generator`` (sampling under the token grammar). ``task_options``, ``models`` and
``muon`` hold the options.
"""

import logging
import os

from . import models, muon, task  # noqa: F401  (registers them)
from .errors import install_sentences, runs_fairseq_command

if runs_fairseq_command():  # whoever imports this as a library keeps their hooks and loggers as they are
    install_sentences()
    if "LOGLEVEL" in os.environ:
        # fairseq's commands mean to follow it, but one of its own task modules sets up logging before them
        logging.getLogger().setLevel(os.environ["LOGLEVEL"].upper())
