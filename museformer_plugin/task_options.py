"""The options of the task, in the form that fairseq and Hydra read."""

# No postponed annotations here: fairseq reads the types of dataclass fields as they stand.

from dataclasses import dataclass, field
from typing import Any, Optional

from fairseq.dataclass import FairseqDataclass
from omegaconf import II


@dataclass
class MuseformerTaskConfig(FairseqDataclass):
    """Options of the task."""

    data: str = field(
        default="",
        metadata={"help": "folder that fairseq-preprocess wrote; for fairseq-interactive one with dict.txt"},
    )
    truncate_train: int = field(
        default=0, metadata={"help": "keep the first N tokens of each training piece; 0 keeps whole pieces"}
    )
    window_tokens: str = field(
        default="",
        metadata={
            "help": "train on windows of whole bars of at most N tokens, drawn anew each epoch; several lengths, "
            "comma-separated and rising, follow each other as --window-updates says; empty for whole pieces"
        },
    )
    window_updates: str = field(
        default="",
        metadata={"help": "after how many updates each next length of --window-tokens begins, comma-separated"},
    )
    window_overlap: float = field(
        default=0.0,
        metadata={
            "help": "share of a window that the next one reads again; 0.5 reads each token twice an epoch, in windows "
            "that begin half a window apart"
        },
    )
    transpose_train: bool = field(
        default=False,
        metadata={
            "help": "read each training piece, epoch by epoch, in another of the twelve keys (6 semitones down to 5 "
            "up) that keep its pitches in range, drums as they are; validation and test pieces stay as data_prep has "
            "made them, in C major or A minor"
        },
    )
    truncate_valid: int = field(default=0, metadata={"help": "the same for validation pieces"})
    truncate_test: int = field(default=0, metadata={"help": "the same for test pieces"})
    prompt_bars: int = field(
        default=0,
        metadata={"help": "fairseq-generate continues the first N bars of each example; 0 writes from scratch"},
    )
    streams: int = field(
        default=0,
        metadata={"help": "pieces of a batch written at the same time, others enter as they end; 0 for all at once"},
    )
    family_temperatures: str = field(
        default="",
        metadata={
            "help": "temperatures of the choice inside families of tokens, on top of --temperature, such as "
            "pitch=0.7,duration=0.7; the choice between families stays as it is"
        },
    )
    # fairseq's own language models read these three of the task
    tokens_per_sample: int = field(
        default=20480, metadata={"help": "longest piece of fairseq's own models, whose positions are counted in tokens"}
    )
    max_target_positions: Optional[int] = field(default=None, metadata={"help": "the same, where it is another"})
    add_bos_token: bool = field(default=False, metadata={"help": "for fairseq's own models; has no effect here"})
    no_grammar: bool = field(default=False, metadata={"help": "let data and generated pieces leave the token grammar"})
    dataset_impl: Any = II("dataset.dataset_impl")
    train_subset: str = II("dataset.train_subset")
    valid_subset: str = II("dataset.valid_subset")
    update_freq: Any = II("optimization.update_freq")
    seed: Any = II("common.seed")
    tpu: Any = II("common.tpu")
