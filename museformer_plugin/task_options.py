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
    task_shares: str = field(
        default="",
        metadata={
            "help": "shares of training windows in which a --steerable model writes bars between given ones (fill), "
            "around given tracks (accompany) or over bars that are alike (vary), or the piece without some of its "
            "middle, told how long it is (shorten), such as fill=0.2,accompany=0.1,vary=0.1; in the others it writes "
            "as ever"
        },
    )
    condition_share: float = field(
        default=0.0,
        metadata={
            "help": "share of training windows in which a --steerable model is told the form, what bars repeat, their "
            "tracks and density, and how many follow, each half of the time"
        },
    )
    truncate_valid: int = field(default=0, metadata={"help": "the same for validation pieces"})
    truncate_test: int = field(default=0, metadata={"help": "the same for test pieces"})
    prompt_bars: int = field(
        default=0,
        metadata={"help": "fairseq-generate continues the first N bars of each example; 0 writes from scratch"},
    )
    bars: int = field(
        default=0, metadata={"help": "pieces written from scratch or continued have so many bars; 0 leaves it open"}
    )
    form: str = field(
        default="",
        metadata={
            "help": "the form of a piece: letters of its sections and their lengths in bars, such as i4A8A8B8A8o2; i "
            "is an intro, o an outro, x passes between sections, small letters have no melody; or a file with a form a "
            "line, of which each piece gets one that --seed draws; behind a blank may stand what --repeats takes"
        },
    )
    repeats: str = field(
        default="",
        metadata={
            "help": "which bars to write repeat which earlier ones, or none, whatever --form says, such as "
            "9-12=1-4,16=new; 9-12=1-4:all repeats to the note, :melody+bass in these tracks, :-piano in all others"
        },
    )
    tracks: str = field(
        default="",
        metadata={
            "help": "which tracks play, and which enter or leave at a bar, such as melody,bass,9:+drums; instruments "
            "of general tokens are programs, 0 to 127, and drums"
        },
    )
    tempo: str = field(default="", metadata={"help": "of the bars that are written, in quarter notes a minute"})
    metre: str = field(default="", metadata={"help": "of the bars that are written, such as 3/4: general tokens only"})
    density: int = field(default=-1, metadata={"help": "how many notes a written bar is to have, about"})
    fill_bars: str = field(
        default="", metadata={"help": "write these bars of each example between its others, such as 9-12,25-28"}
    )
    vary_bars: str = field(
        default="", metadata={"help": "write these bars of each example anew, close to what they are, such as 9-16"}
    )
    accompany: str = field(
        default="", metadata={"help": "keep these tracks of each example, such as melody, and write the others"}
    )
    guidance: float = field(
        default=0.5,
        metadata={
            "help": "how far pieces go beyond what the model would write when told what is asked, away from what it "
            "would write untold; 0 reads each piece once"
        },
    )
    repeat_temperature: float = field(
        default=0.1,
        metadata={"help": "of bars that are told to repeat one, as --form and --repeats do, on top of --temperature"},
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
