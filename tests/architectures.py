"""The architectures of the plugin as fairseq knows them: what runs over these lists runs over a new one too."""

from fairseq.models import MODEL_REGISTRY

import museformer_plugin  # noqa: F401  (registers them)
from museformer_plugin.models.options import BarAwareLanguageModel

ARCHITECTURES = sorted(name for name, model in MODEL_REGISTRY.items() if issubclass(model, BarAwareLanguageModel))

# options small enough for small pieces, where an architecture has such
SMALL = {
    "museformer": {"structure_bars": "1,2,4"},
    "longformer": {"window": 20},
    "sparse_transformer": {"sparse_stride": 11, "sparse_expressivity": 3},
    "music_transformer": {"max_relative_distance": 9},
    "transformer_xl": {"segment_tokens": 8, "memory_tokens": 11},
}

# what has no attention weights, of which --attention-dropout could drop some
WITHOUT_WEIGHTS = {"linear_transformer"}

# by the name of a test: every architecture, and what is another one by an option
KINDS = {
    **{name: {"architecture": name} for name in ARCHITECTURES},
    "sparse_transformer_strided": {"architecture": "sparse_transformer", "sparse_pattern": "strided"},
}
