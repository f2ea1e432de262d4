"""Look at songs and measure models.

``report`` is the command behind ``evaluate.sh``: it reads the data (``data_bin``, ``generated``), measures
(``scorecard``, which calls ``perplexity``, ``similarity``, ``grammar_errors``, ``musical_features``, ``bleu``,
``ngrams`` and ``copying``, with the intervals of ``bootstrap``), writes (``report_text``) and draws (``pictures``,
``self_similarity``, ``piano_roll``). ``compare`` puts several reports side by side. ``form_labels`` measures
the heard form of songs by itself (``form_agreement``), ``steering`` what a model gains by what it is told, ``orders``
how well it meets what is asked of it. Only ``perplexity`` and ``data_bin`` know fairseq.
"""

import logging

# One of fairseq's modules sets the root logger to DEBUG where nobody has set it up, and matplotlib prints hundreds of
# lines of how it looks for fonts.
logging.basicConfig(format="%(message)s", level=logging.WARNING)
