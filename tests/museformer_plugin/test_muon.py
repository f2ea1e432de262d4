"""Muon against the textbook, one matrix at a time, and AdamW against PyTorch's."""

import io

import pytest
import torch
from fairseq.optim import FP16Optimizer, MemoryEfficientFP16Optimizer, build_optimizer
from fairseq.optim.lr_scheduler import LR_SCHEDULER_REGISTRY
from omegaconf import OmegaConf
from torch import nn

from museformer_plugin.errors import UserError
from museformer_plugin.layer import HiddenMatrices
from museformer_plugin.muon import FairseqMuon, MuonAndAdamW, MuonConfig, orthogonalise

LR, ADAMW_LR = 0.02, 3e-3
# stacked matrices, rows of each, columns
STACKS = [(3, 6, 6), (2, 6, 6), (1, 6, 6), (1, 12, 6), (1, 6, 12), (2, 12, 6)]


def parameters(dtype=torch.float64, seed=0):
    """One weight for each of ``STACKS``, then a bias and an embedding."""
    torch.manual_seed(seed)
    weights = [nn.Parameter(torch.randn(stacked * rows, cols).to(dtype)) for stacked, rows, cols in STACKS]
    for weight, (stacked, _, _) in zip(weights, STACKS):
        weight.param_group = HiddenMatrices(stacked)
    return [*weights, nn.Parameter(torch.randn(7).to(dtype)), nn.Parameter(torch.randn(5, 4).to(dtype))]


def set_gradients(params, seed):
    generator = torch.Generator().manual_seed(seed)
    for parameter in params:
        parameter.grad = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)


def update(optimizer, params, seeds):
    for seed in seeds:
        set_gradients(params, seed)
        optimizer.step()


def textbook_muon(matrix, gradients, lr, momentum, weight_decay):
    """Jordan's Muon for one float64 matrix, as his text has it."""
    average = torch.zeros_like(matrix)
    for gradient in gradients:
        average = momentum * average + gradient
        x = gradient + momentum * average
        x = x / x.square().sum().sqrt()
        for _ in range(5):
            if len(x) <= len(x.T):
                square = x @ x.T
                x = 3.4445 * x - 4.7750 * square @ x + 2.0315 * square @ square @ x
            else:
                square = x.T @ x
                x = 3.4445 * x - 4.7750 * x @ square + 2.0315 * x @ square @ square
        scale = max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
        matrix = matrix - lr * weight_decay * matrix - lr * scale * x
    return matrix


@pytest.mark.parametrize(("momentum", "decay"), [(0.95, 0.0), (0.8, 0.1)])
def test_each_stacked_matrix_is_updated_as_if_alone(momentum, decay):
    params = parameters()
    before = [parameter.detach().clone() for parameter in params]
    gradients = []
    optimizer = MuonAndAdamW(params, LR, ADAMW_LR, momentum, muon_weight_decay=decay)
    for seed in range(4):
        set_gradients(params, seed)
        gradients.append([parameter.grad.clone() for parameter in params])
        optimizer.step()
    for n, (stacked, _, _) in enumerate(STACKS):
        parts = (before[n].chunk(stacked), *(grads[n].chunk(stacked) for grads in gradients))
        expected = [textbook_muon(part, grads, LR, momentum, decay) for part, *grads in zip(*parts)]
        torch.testing.assert_close(params[n].detach(), torch.cat(expected), rtol=1e-11, atol=1e-11)


def test_the_rest_is_adamw_of_pytorch():
    params, others = parameters(torch.float32), parameters(torch.float32)
    optimizer = MuonAndAdamW(params, LR, ADAMW_LR, betas=(0.8, 0.9), weight_decay=0.1)
    expected = torch.optim.AdamW(others[len(STACKS) :], ADAMW_LR, (0.8, 0.9), 1e-8, 0.1)
    update(optimizer, params, range(5))
    update(expected, others, range(5))
    for found, other in zip(params[len(STACKS) :], others[len(STACKS) :]):
        assert torch.equal(found, other)


def test_pytorchs_muon_does_the_same_to_single_matrices():
    """It works in bfloat16, hence the tolerance: of the whole update, since single entries may be near 0."""
    alone = [n for n, (stacked, _, _) in enumerate(STACKS) if stacked == 1]
    params, others = ([parameters(torch.float32)[n] for n in alone] for _ in "ab")
    before = [parameter.detach().clone() for parameter in params]
    update(MuonAndAdamW(params, LR, ADAMW_LR, muon_weight_decay=0.1), params, range(3))
    update(torch.optim.Muon(others, LR, 0.1, 0.95), others, range(3))
    for found, expected, start in zip(params, others, before):
        moved = (expected - start).norm()
        assert moved > LR
        assert (found - expected).norm() < 0.03 * moved


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 32, 8), (2, 8, 32)])
def test_singular_values_come_near_one(shape):
    torch.manual_seed(0)
    u, _, vh = torch.linalg.svd(torch.randn(shape, dtype=torch.float64), full_matrices=False)
    values = torch.linspace(1.0, 0.05, u.shape[2], dtype=torch.float64)
    found = orthogonalise(100 * u * values @ vh)
    inner = u.mT @ found @ vh.mT
    torch.testing.assert_close(inner, torch.diag_embed(inner.diagonal(dim1=1, dim2=2)), rtol=0, atol=1e-9)
    assert 0.6 < inner.diagonal(dim1=1, dim2=2).min() <= inner.max() < 1.3


def test_a_zero_gradient_moves_nothing():
    params = parameters()
    before = [parameter.detach().clone() for parameter in params]
    optimizer = MuonAndAdamW(params, LR, ADAMW_LR)
    for parameter in params[1:]:  # the first has no gradient at all
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert all(torch.equal(found, start) for found, start in zip(params, before))


@pytest.mark.parametrize("coarse", [True, False])
def test_the_model_marks_its_hidden_matrices(build_decoder, coarse):
    decoder = build_decoder(no_coarse_attention=not coarse)
    decoder.bfloat16()  # as fairseq does before it builds the optimiser
    found = {n: p.param_group.stacked for n, p in decoder.named_parameters() if hasattr(p, "param_group")}
    one_layer = {"projections.weight": 3, "out_proj.weight": 1, "ffn_in.weight": 1, "ffn_out.weight": 1}
    if coarse:
        one_layer["projections.summary_kv_weight"] = 2
    assert found == {f"layers.{n}.{name}": stacked for n in (0, 1) for name, stacked in one_layer.items()}


# as fairseq drives it


def fairseq_config(**options):
    """What fairseq's trainer hands to its optimisers."""
    common = {"fp16": False, "bf16": True, "fp16_no_flatten_grads": True, "model_parallel_size": 1}
    return OmegaConf.create(
        {
            "common": {**common, "fp16_scale_window": None},
            "optimization": {"update_freq": [1], "lr": [LR]},
            "distributed_training": {"distributed_world_size": 1},
            "optimizer": {"_name": "muon", "lr": [LR], "adamw_lr": ADAMW_LR, "bf16": True, **options},
        }
    )


def full_precision_copies(params):
    """As fairseq makes them."""
    return FP16Optimizer.build_fp32_params(None, params, flatten=False)


def muon(params, **options):
    return FairseqMuon(MuonConfig(lr=[LR], adamw_lr=ADAMW_LR, fp16=False, bf16=False, **options), params)


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_full_precision_copies_are_orthogonalised_too():
    """``--bf16`` and ``--fp16 --fp16-no-flatten-grads``."""
    params = parameters(torch.bfloat16)
    copies = full_precision_copies(params)
    alone, optimizer = muon(copies), FP16Optimizer.build_optimizer(fairseq_config(), params)
    for seed in range(3):
        set_gradients(params, seed)
        optimizer._needs_sync = True  # what fairseq's backward leaves
        for copy, parameter in zip(copies, params):
            copy.grad = parameter.grad.float()
        optimizer.step()
        alone.step()
    assert all(torch.equal(parameter, copy.bfloat16()) for parameter, copy in zip(params, copies))


def test_state_of_half_precision_parameters_is_float32():
    """``--memory-efficient-bf16``, resumed on the way."""
    params, others = parameters(torch.bfloat16), parameters(torch.bfloat16)
    optimizer = MemoryEfficientFP16Optimizer.build_optimizer(fairseq_config(), params)
    update(optimizer, params, range(2))
    resumed = MemoryEfficientFP16Optimizer.build_optimizer(fairseq_config(), others)
    for other, parameter in zip(others, params):
        other.data.copy_(parameter.data)
    resumed.load_state_dict(through_a_file(optimizer.state_dict()))
    update(optimizer, params, range(2, 4))
    update(resumed, others, range(2, 4))
    assert all(torch.equal(parameter, other) for parameter, other in zip(params, others))
    kept = [tensor for state in resumed.optimizer.state.values() for tensor in state.values()]
    assert {tensor.dtype for tensor in kept} == {torch.float32}


def updating_copies(params):
    return FP16Optimizer.build_optimizer(fairseq_config(), params)


def update_copies(optimizer, params, seeds):
    for seed in seeds:
        set_gradients(params, seed)
        optimizer._needs_sync = True  # what fairseq's backward leaves
        optimizer.step()


def as_fairseq_resumes(saved, params, others, build=updating_copies):
    """The optimizer of ``others`` after they have been loaded from what was saved of ``params``, and then its state."""
    for other, parameter in zip(others, params):
        other.data.copy_(parameter.data)
    resumed = build(others)
    resumed.load_state_dict(through_a_file(saved.state_dict()))
    return resumed


def test_resuming_is_exact_with_full_precision_copies():
    """``--bf16`` and ``--fp16 --fp16-no-flatten-grads``: the model that a checkpoint holds is rounded."""
    params, others = parameters(torch.bfloat16), parameters(torch.bfloat16)
    whole = updating_copies(params)
    update_copies(whole, params, range(3))
    resumed = as_fairseq_resumes(whole, params, others)
    update_copies(whole, params, range(3, 6))
    update_copies(resumed, others, range(3, 6))
    assert all(torch.equal(copy, other) for copy, other in zip(whole.fp32_params, resumed.fp32_params))
    assert any(not torch.equal(copy, copy.bfloat16().float()) for copy in whole.fp32_params)


def test_weights_that_were_changed_stay_as_they_are(caplog):
    """An average of checkpoints, say, with the optimizer's state of the last one."""
    params, others = parameters(torch.bfloat16), parameters(torch.bfloat16)
    saved = updating_copies(params)
    update_copies(saved, params, range(1))
    params[0].data.zero_()
    resumed = as_fairseq_resumes(saved, params, others)
    assert not resumed.fp32_params[0].any()
    assert torch.equal(resumed.fp32_params[1], saved.fp32_params[1])
    assert "The weights were changed after they were saved" in caplog.text


def test_a_training_in_half_precision_goes_on_in_float32_from_its_copies():
    params, others = parameters(torch.bfloat16), parameters(torch.float32)
    saved = updating_copies(params)
    update_copies(saved, params, range(1))
    as_fairseq_resumes(saved, params, others, build=muon)
    assert all(torch.equal(copy, other) for copy, other in zip(saved.fp32_params, others))


def test_float32_parameters_are_not_saved_twice():
    assert "full_precision" not in muon(parameters(torch.float32)).state_dict()


def test_one_step_in_half_precision_is_that_of_float32_rounded():
    params = parameters(torch.bfloat16)
    copies = full_precision_copies(params)
    set_gradients(params, 0)
    for copy, parameter in zip(copies, params):
        copy.grad = parameter.grad.float()
    muon(params).step()
    muon(copies).step()
    assert all(torch.equal(parameter, copy.bfloat16()) for parameter, copy in zip(params, copies))


def test_resuming_is_exact():
    params, others = parameters(torch.float32), parameters(torch.float32, seed=1)
    whole = muon(params)
    update(whole, params, range(3))
    for other, parameter in zip(others, params):
        other.data.copy_(parameter.data)
    resumed = muon(others)
    resumed.load_state_dict(through_a_file(whole.state_dict()))
    update(whole, params, range(3, 6))
    update(resumed, others, range(3, 6))
    assert all(torch.equal(parameter, other) for parameter, other in zip(params, others))


# what schedulers need beyond --lr; pass_through asks for optimisers that bring their own
SCHEDULES = {
    "cosine": {"max_update": 30, "warmup_updates": 3, "t_mult": 1, "lr_period_updates": -1},
    "fixed": {"warmup_updates": 3, "force_anneal": 2},
    "inverse_sqrt": {"warmup_updates": 3},
    "manual": {"epoch2lr": "{}", "update2lr": "{'5': 0.01}"},
    "polynomial_decay": {"warmup_updates": 3, "total_num_update": 20},
    "reduce_lr_on_plateau": {"warmup_updates": 3},
    "step": {"warmup_updates": 3, "lr_deacy_period": 4, "lr_decay": 0.5},
    "tri_stage": {"max_update": 20, "phase_ratio": (0.2, 0.3, 0.5)},
    "triangular": {"max_lr": 0.05, "lr_period_updates": 10},
}


@pytest.mark.parametrize("name", sorted(LR_SCHEDULER_REGISTRY.keys() - {"pass_through"}))
def test_both_rates_follow_every_schedule(name):
    optimizer = muon(parameters())
    scheduler_class = LR_SCHEDULER_REGISTRY[name]
    defaults = {"lr": [LR], "maximize_best_checkpoint_metric": False}  # which most take from other groups of options
    if scheduler_class.__dataclass is not None:  # "manual" has none
        defaults = {**OmegaConf.to_container(OmegaConf.structured(scheduler_class.__dataclass)), **defaults}
    scheduler = scheduler_class(OmegaConf.create({**defaults, **SCHEDULES[name]}), optimizer)
    rates = set()
    for epoch in (1, 2, 3):
        scheduler.step_begin_epoch(epoch)
        for n in range(6):
            reported = scheduler.step_update(6 * (epoch - 1) + n)
            hidden, rest = (group["lr"] for group in optimizer.param_groups)
            assert hidden == optimizer.get_lr() == pytest.approx(reported)
            assert rest == pytest.approx(hidden * ADAMW_LR / LR)
            rates.add(hidden)
        for loss in (1.0, 2.0, 3.0):
            scheduler.step(epoch, loss)
    assert len(rates) > 1


def test_an_overriding_rate_is_that_of_the_hidden_matrices():
    saved = muon(parameters())
    optimizer = muon(parameters())
    optimizer.load_state_dict(saved.state_dict(), {"lr": 0.2})
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.2, 0.03])


def test_each_option_reaches_its_parameters():
    options = {"muon_momentum": 0.9, "muon_weight_decay": 0.1, "weight_decay": 0.2, "adamw_betas": "0.8,0.7"}
    hidden, rest = muon(parameters(), **options).param_groups
    assert (hidden["lr"], hidden["momentum"], hidden["weight_decay"]) == (LR, 0.9, 0.1)
    assert (rest["lr"], rest["betas"], rest["weight_decay"]) == (ADAMW_LR, (0.8, 0.7), 0.2)


def test_muon_without_matrices_is_told():
    with pytest.raises(UserError, match="Muon without matrices: .* --fp16-no-flatten-grads"):
        muon(nn.Linear(4, 4).parameters())
    flat = {0: nn.Parameter(torch.randn(9))}  # by device, as --fp16 on a GPU hands it over
    with pytest.raises(UserError, match="Muon without matrices"):
        build_optimizer(fairseq_config().optimizer, [flat])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"muon_momentum": 1.0}, "--muon-momentum must be from 0 to below 1, not 1.0."),
        ({"adamw_betas": "0.9"}, "--adamw-betas takes two numbers"),
        ({"adamw_betas": "0.9,x"}, "--adamw-betas takes two numbers"),
        ({"adamw_betas": "0.9,1"}, "--adamw-betas takes two numbers"),
        ({"weight_decay": -0.1}, "--weight-decay must be 0 or more, not -0.1."),
        ({"muon_weight_decay": float("nan")}, "--muon-weight-decay must be 0 or more, not nan."),
        ({"adamw_lr": -1.0}, "--adamw-lr must be 0 or more, not -1.0."),
        ({"lr": [0.0]}, "--lr must begin above 0"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_options_that_cannot_be_served(options, sentence):
    with pytest.raises(UserError, match=sentence):
        FairseqMuon(MuonConfig(**{"lr": [LR], **options}), parameters())


@pytest.mark.parametrize("shape", [(3, 24, 24), (2, 64, 16), (2, 16, 64)], ids=["square", "tall", "wide"])
def test_in_bfloat16_it_does_nearly_the_same(monkeypatch, shape):
    """As on GPUs, and on CPUs with instructions for it: within the steps of bfloat16, which five products add up."""
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = {}
    for in_bfloat16 in (False, True):
        monkeypatch.setattr("museformer_plugin.muon.multiplies_bfloat16", lambda device, answer=in_bfloat16: answer)
        found[in_bfloat16] = orthogonalise(matrices)
    assert found[True].dtype == torch.float32
    assert not torch.equal(found[True], found[False])
    difference = torch.linalg.matrix_norm(found[True] - found[False]) / torch.linalg.matrix_norm(found[False])
    assert difference.max() < 0.05
    exact = orthogonalise(matrices.double())  # which stays float64
    torch.testing.assert_close(found[False].double(), exact, rtol=0, atol=1e-4)
