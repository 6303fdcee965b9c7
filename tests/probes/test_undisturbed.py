"""A probe never changes the run: bit for bit, also when it fails."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from thetadot.probes import Objective, barrier, critical_sharpness, ghost_norms, sharpness, undisturbed


def everything(model):
    """All that a run's next step could depend on."""
    name, words, *rest = np.random.get_state()  # noqa: NPY002
    return {
        "parameters": [p.detach().clone() for p in model.parameters()],
        "gradients": [None if p.grad is None else p.grad.clone() for p in model.parameters()],
        "buffers": {name: buffer.clone() for name, buffer in model.named_buffers()},
        "buffer objects": {name: id(buffer) for name, buffer in model.named_buffers()},
        "modes": [module.training for module in model.modules()],
        "wanted": [p.requires_grad for p in model.parameters()],
        "torch": torch.get_rng_state(),
        "numpy": (name, tuple(words), *rest),
        "python": random.getstate(),
        "grad mode": torch.is_grad_enabled(),
        "kernels": (torch.backends.cuda.flash_sdp_enabled(), torch.backends.cuda.mem_efficient_sdp_enabled()),
    }


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one.to_dense(), other.to_dense())
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def probe(model, loss):
    objective = Objective(model, loss)
    objective.value()
    objective.gradient()
    start = torch.ones(sum(p.numel() for p in objective.parameters))
    with objective.hessian() as product:
        sharpness(product, start, iterations=3)
    ghost_norms(objective, samples=6)
    critical_sharpness(objective, -objective.gradient(), guess=0.1)
    barrier(objective, start, -start, interior=1)


@pytest.mark.parametrize("evaluating", [False, True])
def test_a_probe_leaves_everything_as_it_was(net, build, evaluating):
    model, loss = build(net)
    loss().backward()
    if evaluating:
        model.eval()
    next(iter(model.modules())).training = not evaluating  # modes may be mixed

    def drawing():
        return loss() * (1.0 + 0.1 * random.random() + 0.1 * np.random.rand() + 0.1 * float(torch.rand(())))  # noqa: NPY002

    before = everything(model)
    probe(model, drawing)
    after = everything(model)
    assert [key for key in before if not same(before[key], after[key])] == []


@pytest.mark.parametrize("when", [1, 2, 3])
def test_also_when_the_loss_raises(build, when):
    model, loss = build("batch norm and dropout")
    calls = 0

    def failing():
        nonlocal calls
        calls += 1
        value = loss()
        model.eval()
        if calls == when:
            raise ZeroDivisionError
        return value

    before = everything(model)
    with pytest.raises(ZeroDivisionError):
        probe(model, failing)
    assert calls == when
    assert same(before, everything(model))


def test_also_when_the_body_of_a_hessian_raises(build):
    model, loss = build("batch norm and dropout")
    before = everything(model)
    start = torch.ones(sum(p.numel() for p in model.parameters()))
    with pytest.raises(ZeroDivisionError), Objective(model, loss).hessian() as product:
        sharpness(lambda v: product(v) * (1 // 0), start)
    assert same(before, everything(model))


@pytest.mark.parametrize("evaluating", [False, True])
def test_a_probe_between_forward_and_backward_leaves_the_gradient_as_it_would_have_been(build, evaluating):
    gradients = []
    for probed in (False, True):
        model, loss = build("batch norm and dropout")
        model.train(not evaluating)
        torch.manual_seed(0)
        value = loss()
        if probed:
            probe(model, loss)
        value.backward()
        gradients.append([p.grad for p in model.parameters()])
    assert same(*gradients)


@pytest.mark.slow
def test_a_probed_run_is_the_run(build):
    """Dropout, batch norm, momentum: 20 steps with and without probes at every one of them."""
    ends = []
    for probed in (False, True):
        model, loss = build("batch norm and dropout")
        torch.manual_seed(0)
        optimizer = torch.optim.SGD(model.parameters(), 0.1, 0.9)
        for _ in range(20):
            optimizer.zero_grad()
            loss().backward()
            if probed:
                probe(model, loss)
            optimizer.step()
        ends.append((model.state_dict(), torch.get_rng_state()))
    assert same(dict(ends[0][0]), dict(ends[1][0]))
    assert torch.equal(ends[0][1], ends[1][1])


def test_every_call_sees_the_same_dropout_mask(build):
    model, loss = build("batch norm and dropout")
    objective = Objective(model, loss)
    values = {objective.value() for _ in range(3)}
    assert len(values) == 1
    model.eval()
    assert objective.value() not in values  # and in training there is one


def test_the_gradient_is_that_of_backward(build):
    model, loss = build("unused and frozen")
    found = Objective(model, loss).gradient()
    loss().backward()
    parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters() if p.requires_grad]
    assert torch.equal(found, torch.cat([part.flatten() for part in parts]))
    assert float(found.norm()) > 0


def test_the_own_random_numbers_are_a_function_of_the_seed():
    model = nn.Linear(4, 3)
    drawn = []
    for seed in (1, 1, 2):
        with undisturbed(model, seed):
            drawn.append((float(torch.rand(())), random.random(), float(np.random.rand())))  # noqa: NPY002
    assert drawn[0] == drawn[1]
    assert not set(drawn[0]) & set(drawn[2])
