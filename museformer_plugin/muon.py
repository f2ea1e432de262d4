"""``--optimizer muon``: hidden matrices by Muon, all other parameters by AdamW."""

# No postponed annotations here: fairseq reads the types of dataclass fields as they stand.

import logging
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, List, Optional  # noqa: UP035  (fairseq reads typing.List)

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.optim import FairseqOptimizer, register_optimizer
from omegaconf import II
from torch import Tensor
from torch.optim.adamw import adamw

from .errors import UserError
from .fc_attention.cpu.bfloat16 import multiplies_bfloat16
from .layer import HiddenMatrices

logger = logging.getLogger(__name__)

# Jordan's polynomial x -> a x + b x^3 + c x^5, steepest at 0, and how often it is applied
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5


def orthogonalise(matrices: Tensor) -> Tensor:
    """Each of [n, rows, cols] with its singular values brought near 1 (0.7 to 1.2); a zero matrix stays zero.

    Newton-Schulz iteration of Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon), as in
    ``torch.optim.Muon``, which takes one matrix at a time and bfloat16 everywhere. In bfloat16 on GPUs and on CPUs
    with instructions for it, else, since others are slow in bfloat16, and for float64, in the dtype of ``matrices``.
    """
    a, b, c = _COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=1e-7)
    if x.dtype == torch.float32 and (x.is_cuda or multiplies_bfloat16(x.device)):
        x = x.bfloat16()
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)


class MuonAndAdamW(torch.optim.Optimizer):
    """Muon for the parameters that ``HiddenMatrices`` marks as their ``param_group``, AdamW for the others.

    A matrix W [rows, cols] with gradient G goes with rate ``lr`` to

        M <- momentum M + (1 - momentum) G
        W <- (1 - lr muon_weight_decay) W - lr sqrt(max(1, rows / cols)) orthogonalise((1 - momentum) G + momentum M)

    (Nesterov's momentum; Jordan's scale). Matrices stacked in one parameter are taken apart. AdamW is PyTorch's
    own. Parameters and gradients may be half precision: state and arithmetic are float32 then.
    """

    supports_memory_efficient_fp16 = True
    supports_flat_params = False

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        adamw_lr: float,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.95),
        muon_weight_decay: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        hidden, rest = [], []
        for parameter in params:
            (hidden if _is_hidden(parameter) else rest).append(parameter)
        groups = [
            {"params": hidden, "lr": lr, "momentum": momentum, "weight_decay": muon_weight_decay},
            {"params": rest, "lr": adamw_lr, "betas": betas, "weight_decay": weight_decay},
        ]
        super().__init__(groups, {})

    @torch.no_grad()
    def step(self, closure: Optional[Callable[[], Any]] = None) -> Any:
        """One update of all parameters that have a gradient; returns what ``closure`` returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        hidden, rest = self.param_groups
        self._step_hidden(hidden)
        self._step_rest(rest)
        return loss

    def _step_hidden(self, group: dict[str, Any]) -> None:
        """Matrices of one shape go through one batched product, whichever parameters they lie in."""
        alike = defaultdict(list)
        for parameter in _with_gradient(group):
            value = _full_precision(parameter)
            gradient = parameter.grad.to(value.dtype)
            (momentum,) = self._kept(parameter, value, "momentum_buffer")
            momentum.lerp_(gradient, 1 - group["momentum"])
            ahead = gradient.lerp(momentum, group["momentum"]).unflatten(0, (parameter.param_group.stacked, -1))
            alike[ahead.shape[1:]].append((parameter, value, ahead))
        for (rows, cols), members in alike.items():
            updates = orthogonalise(torch.cat([ahead for _, _, ahead in members]))
            rate = group["lr"] * math.sqrt(max(1, rows / cols))
            for (parameter, value, _), update in zip(members, updates.split([len(ahead) for _, _, ahead in members])):
                value.mul_(1 - group["lr"] * group["weight_decay"]).add_(update.flatten(0, 1), alpha=-rate)
                _write_back(parameter, value)

    def _step_rest(self, group: dict[str, Any]) -> None:
        parameters = _with_gradient(group)
        values = [_full_precision(parameter) for parameter in parameters]
        kept = [self._kept(p, value, "exp_avg", "exp_avg_sq") for p, value in zip(parameters, values)]
        adamw(
            values,
            [parameter.grad.to(value.dtype) for parameter, value in zip(parameters, values)],
            [mean for mean, _ in kept],
            [square for _, square in kept],
            [],
            [self.state[parameter].setdefault("step", torch.tensor(0.0)) for parameter in parameters],
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=1e-8,
            maximize=False,
        )
        for parameter, value in zip(parameters, values):
            _write_back(parameter, value)

    def _kept(self, parameter: Tensor, value: Tensor, *names: str) -> list[Tensor]:
        """The state of these names, zero at first, in the dtype and on the device of ``value``.

        fairseq leaves what it has loaded on the CPU where parameters are half precision.
        """
        state = self.state[parameter]
        for name in names:
            state[name] = state[name].to(value) if name in state else torch.zeros_like(value)
        return [state[name] for name in names]


def _is_hidden(parameter: Tensor) -> bool:
    return isinstance(getattr(parameter, "param_group", None), HiddenMatrices)


def _is_rounded_from(parameter: Tensor, copy: Tensor) -> bool:
    """Whether the values of ``parameter`` are those of ``copy`` in a half precision."""
    values, copy = parameter.detach().float(), copy.to(parameter.device)
    return any(torch.equal(values, copy.to(half).float()) for half in (torch.bfloat16, torch.float16))


def _with_gradient(group: dict[str, Any]) -> list[Tensor]:
    return [parameter for parameter in group["params"] if parameter.grad is not None]


def _full_precision(parameter: Tensor) -> Tensor:
    """The parameter itself, or a float32 copy of one of half precision."""
    return parameter.to(torch.promote_types(parameter.dtype, torch.float32))


def _write_back(parameter: Tensor, value: Tensor) -> None:
    if value is not parameter:
        parameter.copy_(value)


@dataclass
class MuonConfig(FairseqDataclass):
    """Options of ``--optimizer muon``; ``--lr`` is the rate of the hidden matrices (try 0.04)."""

    adamw_lr: float = field(
        default=3e-3,
        metadata={
            "help": "learning rate of embeddings, output projection, biases and gains while that of the hidden "
            "matrices is the first of --lr; the schedule scales both alike"
        },
    )
    adamw_betas: str = field(default="0.9,0.95", metadata={"help": "betas of AdamW, comma-separated"})
    weight_decay: float = field(default=0.0, metadata={"help": "weight decay of AdamW, decoupled"})
    muon_momentum: float = field(default=0.95, metadata={"help": "Nesterov momentum of the hidden matrices"})
    muon_weight_decay: float = field(default=0.0, metadata={"help": "weight decay of the hidden matrices, decoupled"})
    lr: List[float] = II("optimization.lr")  # noqa: UP006
    fp16: bool = II("common.fp16")
    bf16: bool = II("common.bf16")


def _parse_betas(text: str) -> tuple[float, float]:
    """ "0.9,0.95" -> (0.9, 0.95); raises UserError unless these are two numbers from 0 to below 1."""
    try:
        betas = tuple(map(float, text.split(",")))
    except ValueError:
        betas = ()
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        raise UserError(f"--adamw-betas takes two numbers from 0 to below 1, such as 0.9,0.95, not {text!r}.")
    return betas


def _check(cfg: MuonConfig, lr: float, params: list[Tensor]) -> None:
    if not any(map(_is_hidden, params)):
        raise UserError(
            "Muon without matrices: none of the model's parameters are marked as hidden matrices; with --fp16, which "
            "lays all parameters end to end, pass --fp16-no-flatten-grads too, and with another model --optimizer adam."
        )
    if lr <= 0:
        raise UserError(f"--lr must begin above 0 with --optimizer muon, not with {lr}: --adamw-lr follows it.")
    if not 0 <= cfg.muon_momentum < 1:
        raise UserError(f"--muon-momentum must be from 0 to below 1, not {cfg.muon_momentum}.")
    for option in ("adamw_lr", "weight_decay", "muon_weight_decay"):
        if not getattr(cfg, option) >= 0:
            raise UserError(f"--{option.replace('_', '-')} must be 0 or more, not {getattr(cfg, option)}.")


@register_optimizer("muon", dataclass=MuonConfig)
class FairseqMuon(FairseqOptimizer):
    """``MuonAndAdamW`` as fairseq drives it: its schedulers set one rate, and AdamW's follows in proportion.

    With ``--fp16`` and ``--bf16`` fairseq lets it update float32 copies of the parameters, and writes only the model,
    rounded, into checkpoints. So the state has the copies too: without them no training would resume exactly.
    """

    def __init__(self, cfg: MuonConfig, params: Iterable[Tensor]) -> None:
        super().__init__(cfg)
        params = list(params)
        lr = cfg.lr[0] if isinstance(cfg.lr, Collection) else cfg.lr
        _check(cfg, lr, params)
        self._ratios = (1.0, cfg.adamw_lr / lr)
        self._updates_copies = bool(cfg.fp16 or cfg.bf16)
        self._optimizer = MuonAndAdamW(
            params,
            lr,
            cfg.adamw_lr,
            cfg.muon_momentum,
            _parse_betas(cfg.adamw_betas),
            cfg.muon_weight_decay,
            cfg.weight_decay,
        )

    def set_lr(self, lr: float) -> None:
        """Set the rate of the hidden matrices, and AdamW's in proportion."""
        for group, ratio in zip(self.param_groups, self._ratios):
            group["lr"] = lr * ratio

    def state_dict(self) -> dict[str, Any]:
        """As fairseq's; with it ``full_precision``, the float32 copies of all parameters, where it updates copies.

        ``--memory-efficient-fp16`` and its like have none.
        """
        state, parameters = super().state_dict(), self._parameters()
        if self._updates_copies and all(parameter.dtype == torch.float32 for parameter in parameters):
            state["full_precision"] = [parameter.detach() for parameter in parameters]
        return state

    def load_state_dict(self, state_dict: dict[str, Any], optimizer_overrides: Optional[dict[str, Any]] = None) -> None:
        """As fairseq's, where an overriding ``lr`` is that of the hidden matrices.

        Parameters, which fairseq has loaded rounded, become the copies that they were rounded from. Those that are
        not, since somebody has changed the weights, and all of a checkpoint without copies stay as they are.
        """
        super().load_state_dict(state_dict, optimizer_overrides)
        pairs = list(zip(self._parameters(), state_dict.get("full_precision", [])))
        rounded = [(parameter, copy) for parameter, copy in pairs if _is_rounded_from(parameter, copy)]
        with torch.no_grad():
            for parameter, copy in rounded:
                parameter.copy_(copy)
        if len(rounded) < len(pairs):
            logger.warning("The weights were changed after they were saved: training goes on from them as they are.")
        if optimizer_overrides and "lr" in optimizer_overrides:
            self.set_lr(optimizer_overrides["lr"])

    def _parameters(self) -> list[Tensor]:
        return [parameter for group in self.param_groups for parameter in group["params"]]
