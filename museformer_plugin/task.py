"""The task: fairseq's commands over pieces of tokens."""

# No postponed annotations here: fairseq reads the types of dataclass fields as they stand.

import logging
import math
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fairseq import utils
from fairseq.data import Dictionary, FairseqDataset, data_utils
from fairseq.data.iterators import EpochBatchIterator
from fairseq.dataclass import FairseqDataclass
from fairseq.logging import metrics
from fairseq.models import FairseqLanguageModel, FairseqModel
from fairseq.tasks import FairseqTask, register_task
from torch import Tensor

from .data_folder import check_pieces, dictionary_of
from .dataset import PieceDataset
from .errors import UserError
from .family_temperatures import FamilyTemperatures, parse_temperatures
from .generation_options import check_generation
from .generator import MuseformerGenerator
from .guidance import guidance_strength
from .models.any_fairseq import writing_model
from .models.protocol import MakeInputs
from .piece_rules import PieceRules
from .sampling import SamplingOptions, repeat_temperature
from .steering.asked import ask_of
from .steering.training_tasks import TrainingShares, TrainingTasks
from .task_options import MuseformerTaskConfig
from .token_families import TokenFamilies
from .transposition import Transposition
from .typed_prompts import read_prompts
from .window_batches import WindowBatches, WindowDataset
from .windows import BatchLimits, WindowSchedule

logger = logging.getLogger(__name__)


@register_task("museformer_language_modeling", dataclass=MuseformerTaskConfig)
class MuseformerLanguageModelingTask(FairseqTask):
    """Language modelling over pieces of bar-aware tokens."""

    cfg: MuseformerTaskConfig

    def __init__(self, cfg: MuseformerTaskConfig, dictionary: Dictionary) -> None:
        super().__init__(cfg)
        self.dictionary = dictionary
        self.families = TokenFamilies(dictionary)
        self._inputs: MakeInputs | None = None
        self._schedule = _window_schedule(cfg)
        self._trains = False
        self._steerable = False
        self._train_batches: WindowBatches | None = None
        self._cpu_seconds = 0.0

    @classmethod
    def setup_task(cls, cfg: MuseformerTaskConfig, **unused: Any) -> "MuseformerLanguageModelingTask":
        """Load the dictionary; raises UserError when it is missing or foreign, or an option is off."""
        for option in ("truncate_train", "truncate_valid", "truncate_test", "prompt_bars", "streams"):
            if getattr(cfg, option) < 0:
                raise UserError(f"--{option.replace('_', '-')} must be 0 or more, not {getattr(cfg, option)}.")
        return cls(cfg, dictionary_of(cfg.data))

    def build_model(self, cfg: FairseqDataclass, from_checkpoint: bool = False) -> FairseqModel:
        """Build the model, and remember how the data workers make what it needs of a batch."""
        if self.cfg.tpu is True and not from_checkpoint:
            raise UserError(
                "fairseq takes --bf16 for a wish to train on TPUs, which is not offered: train its own models with "
                "--fp16, or without either."
            )
        model = super().build_model(cfg, from_checkpoint)
        if not isinstance(model, FairseqLanguageModel):
            raise UserError(f"{type(model).__name__} is no language model: this task needs one.")
        self._inputs = getattr(model.decoder, "inputs", None)  # fairseq's own models need none
        self._steerable = getattr(model.decoder, "condition_columns", None) is not None
        self._check_steering()
        self._trains = not from_checkpoint  # fairseq loads models so for everything else
        return model

    def _check_steering(self) -> None:
        if not (self.cfg.task_shares or self.cfg.condition_share):
            return
        if not self._steerable:
            raise UserError(
                "--task-shares and --condition-share need a model that can be told of bars: pass --steerable."
            )
        if self._schedule is None:
            raise UserError(
                "--task-shares and --condition-share need --window-tokens: whole pieces are read as they are."
            )

    def load_dataset(self, split: str, epoch: int = 1, combine: bool = False, **unused: Any) -> None:
        """Load ``split`` from the data folder; folders joined by ``:`` are taken in turn, one an epoch.

        Raises UserError when the split is missing or a piece breaks the grammar.
        """
        folders = utils.split_paths(self.cfg.data)
        path = str(Path(folders[(epoch - 1) % len(folders)]) / split)
        pieces = data_utils.load_indexed_dataset(path, self.dictionary, self.cfg.dataset_impl, combine=combine)
        if pieces is None:
            raise UserError(
                f"There is no {split!r} data at {path}: run fairseq-preprocess --only-source with "
                f"--{split}pref, or name another split."
            )
        if not self.cfg.no_grammar:
            check_pieces(pieces, split, self.families)
        sizes, trained_on = np.asarray(pieces.sizes), self._trains and split == self.cfg.train_subset
        transposition = self._transposition(split, len(folders)) if trained_on else None
        if self._schedule is not None and trained_on:
            self._check_not_validated(split, "in windows")
            self.datasets[split] = WindowDataset(
                pieces, sizes, self.families, inputs=self._inputs, transposition=transposition, tasks=self._tasks()
            )
            return
        self.datasets[split] = PieceDataset(
            pieces,
            sizes,
            self.families,
            max_tokens=self._truncation(split),
            inputs=self._inputs,
            prompt_bars=self.cfg.prompt_bars,
            transposition=transposition,
        )

    def _tasks(self) -> TrainingTasks | None:
        shares = TrainingShares.parse(self.cfg.task_shares, self.cfg.condition_share)
        return TrainingTasks(self.families, shares, self.cfg.seed) if self._steerable else None

    def _transposition(self, split: str, num_folders: int) -> Transposition | None:
        if not self.cfg.transpose_train:
            return None
        self._check_not_validated(split, "in other keys")
        return Transposition(self.families, self.cfg.seed, turns=num_folders)

    def _check_not_validated(self, split: str, how: str) -> None:
        if split in self.cfg.valid_subset.split(","):
            raise UserError(f"--valid-subset names {split!r}, which is trained on {how}: name other data.")

    def _truncation(self, split: str) -> int:
        for kind in ("train", "valid", "test"):
            if split.startswith(kind):
                return getattr(self.cfg, f"truncate_{kind}")
        return 0

    def get_batch_iterator(
        self,
        dataset: FairseqDataset,
        max_tokens: int | None = None,
        max_sentences: int | None = None,
        *further: Any,
        **keywords: Any,
    ) -> EpochBatchIterator:
        """As fairseq does; training on windows has batches of its own, which go on from those before."""
        if not isinstance(dataset, WindowDataset):
            # fairseq's own seed counts the epoch in, which is another one where a training is resumed
            dataset.order_seed = keywords.get("seed", 1) + 1
            batches = super().get_batch_iterator(dataset, max_tokens, max_sentences, *further, **keywords)
            if dataset.transposition is not None:  # workers that live on would not hear of the next epoch
                batches.reuse_dataloader = batches.persistent_workers = False
            return batches
        limits = BatchLimits(max_tokens or math.inf, max_sentences or math.inf)
        self._schedule.check(limits, dataset.edges)
        self._schedule.check_model(keywords.get("max_positions") or math.inf, dataset.edges)
        taken = ("seed", "num_shards", "shard_id", "num_workers", "epoch", "skip_remainder_batch")
        self._train_batches = WindowBatches(
            dataset,
            self._schedule,
            limits,
            self.cfg.update_freq,
            first_update=self._train_batches.updates if self._train_batches else 0,
            buffer_size=keywords["data_buffer_size"],
            **{name: keywords[name] for name in taken},
        )
        return self._train_batches

    def filter_indices_by_size(
        self,
        indices: np.ndarray,
        dataset: FairseqDataset,
        max_positions: int | None = None,
        ignore_invalid_inputs: bool = False,
    ) -> np.ndarray:
        """As fairseq does, but what does not fit is told in a sentence (UserError)."""
        kept, ignored = dataset.filter_indices_by_size(indices, max_positions)
        if ignored:
            longest = max(dataset.size(index) for index in ignored)
            option = "--max-tokens" if self._inputs is not None else "--max-tokens or --tokens-per-sample"
            sentence = (
                f"{len(ignored)} pieces are longer than the {max_positions} tokens that {option} allows, the "
                f"longest has {longest}; raise {option} or shorten them with --truncate-train/-valid/-test"
            )
            if not len(kept):
                raise UserError(f"{sentence}: none is left.")
            if not ignore_invalid_inputs:
                raise UserError(f"{sentence}; --skip-invalid-size-inputs-valid-test leaves them out.")
            logger.warning("%s; they are left out.", sentence)
        return kept

    def get_interactive_tokens_and_lengths(
        self, lines: Sequence[str], encode_fn: Callable[[str], str]
    ) -> tuple[list[Tensor], list[int]]:
        """Typed prompts, ``t1 ... tn </s>`` each; an empty line asks for a piece from scratch.

        Raises UserError for a line that is not spelled or built by the grammar.
        """
        pieces = read_prompts([encode_fn(line) for line in lines], self.families, not self.cfg.no_grammar)
        return pieces, [len(piece) for piece in pieces]

    def build_dataset_for_inference(
        self,
        src_tokens: Sequence[Tensor],
        src_lengths: Sequence[int],
        constraints: Tensor | None = None,
        **unused: Any,
    ) -> PieceDataset:
        """Prompts for ``fairseq-interactive``, in the form of ``get_interactive_tokens_and_lengths``."""
        if constraints is not None:
            raise UserError(
                "--constraints is not offered: the next token depends on its bar, not on lexical constraints."
            )
        return PieceDataset(src_tokens, np.array(src_lengths), self.families, inputs=self._inputs, shuffle=False)

    def eval_lm_dataloader(
        self,
        dataset: FairseqDataset,
        max_tokens: int | None = 36000,
        batch_size: int | None = None,
        max_positions: int | None = None,
        num_shards: int = 1,
        shard_id: int = 0,
        num_workers: int = 1,
        data_buffer_size: int = 10,
        context_window: int = 0,
    ) -> Any:
        """Batches for ``fairseq-eval-lm``: whole pieces, so there is no context window."""
        if context_window > 0:
            raise UserError("--context-window is not offered: pieces are evaluated whole, with all their context.")
        return self.get_batch_iterator(
            dataset=dataset,
            max_tokens=max_tokens,
            max_sentences=batch_size,
            max_positions=utils.resolve_max_positions(max_positions, max_tokens),
            num_shards=num_shards,
            shard_id=shard_id,
            num_workers=num_workers,
            data_buffer_size=data_buffer_size,
        ).next_epoch_itr(shuffle=False)

    def train_step(self, *args: Any, **kwargs: Any) -> tuple[Any, Any, dict]:
        """fairseq's; without a GPU it logs ``cpu`` too: seconds of this process's threads since the step before."""
        if not torch.cuda.is_available():
            seconds = time.process_time()
            metrics.log_scalar_sum("cpu", seconds - (self._cpu_seconds or seconds), priority=700, round=1)
            self._cpu_seconds = seconds
        return super().train_step(*args, **kwargs)

    def build_generator(
        self,
        models: Sequence[FairseqModel],
        args: Namespace,
        extra_gen_cls_kwargs: dict | None = None,
        **unused: Any,
    ) -> Any:
        """The generator behind ``fairseq-generate`` and ``fairseq-interactive``.

        ``--beam n --nbest n`` writes n pieces for every prompt. Raises UserError for options of
        fairseq's search that have no meaning here.
        """
        if args.score_reference:
            return super().build_generator(models, args)
        check_generation(models, args, (extra_gen_cls_kwargs or {}).get("lm_model"))
        ask = ask_of(self.cfg, self.families, steerable=self._steerable, grammar=not self.cfg.no_grammar)
        temperatures = parse_temperatures(self.cfg.family_temperatures)
        reshape = FamilyTemperatures(self.families, temperatures) if temperatures else None
        options = SamplingOptions(
            args.sampling,
            args.sampling_topk,
            args.sampling_topp,
            args.temperature,
            reshape,
            guidance_strength(self.cfg.guidance),
            repeat_temperature(self.cfg.repeat_temperature),
        )
        rules = PieceRules(self.families, args.min_len, args.max_len_b, not self.cfg.no_grammar)
        return MuseformerGenerator(
            writing_model(models[0], self.families),
            options,
            rules,
            pieces_per_prompt=args.beam,
            at_once=self.cfg.streams,
            ask=ask,
        )

    def max_positions(self) -> None:
        """Pieces may be of any length."""
        return

    @property
    def source_dictionary(self) -> Dictionary:
        """The dictionary."""
        return self.dictionary

    @property
    def target_dictionary(self) -> Dictionary:
        """The dictionary."""
        return self.dictionary


def _window_schedule(cfg: MuseformerTaskConfig) -> WindowSchedule | None:
    if not (cfg.window_tokens or cfg.window_updates or cfg.window_overlap):
        return None
    schedule = WindowSchedule.parse(cfg.window_tokens, cfg.window_updates, cfg.window_overlap)
    if cfg.truncate_train:
        raise UserError(
            "--window-tokens and --truncate-train exclude each other: windows come from everywhere in a piece."
        )
    return schedule
