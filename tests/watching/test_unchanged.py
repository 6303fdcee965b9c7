"""A watched run is the run: parameters, gradients, buffers, optimizer state and random numbers, bit for bit."""

import functools

import pytest
import torch
from probes.conftest import NETS, TARGETS
from probes.test_undisturbed import everything, same
from torch import nn

import thetadot
from thetadot.optim import AdamW, HeavyBall, Kramers, Nesterov

OPTIMIZERS = {
    "SGD": functools.partial(torch.optim.SGD, lr=0.05, momentum=0.9, weight_decay=0.01),
    "SGD nesterov": functools.partial(torch.optim.SGD, lr=0.05, momentum=0.9, nesterov=True),
    "AdamW": functools.partial(torch.optim.AdamW, lr=0.01),
    "RMSprop": functools.partial(torch.optim.RMSprop, lr=0.01, centered=True),
    "Adagrad": functools.partial(torch.optim.Adagrad, lr=0.01),
    "HeavyBall": functools.partial(HeavyBall, lr=0.05),
    "Nesterov": functools.partial(Nesterov, lr=0.05),
    "our AdamW": functools.partial(AdamW, lr=0.01),
    "Kramers": functools.partial(Kramers, lr=0.05, temperature=0.01),
}


def trained(name, build, watching, steps=5, **options):
    """The run's end, all that a next step could depend on, with or without a probe."""
    torch.manual_seed(1)
    make, inputs = NETS[name]
    model, loss_fn = make(), nn.CrossEntropyLoss()
    optimizer = build([p for p in model.parameters() if p.requires_grad])
    if watching:
        probe = thetadot.watch(
            model, optimizer, loss_fn=loss_fn, reference=(inputs, TARGETS), level="full", **options
        ).start()
    for step in range(steps):
        optimizer.zero_grad(set_to_none=step % 2 == 0)
        loss_fn(model(inputs), TARGETS).backward()
        optimizer.step()
    if watching:
        probe.close()
    state = {str(k): v for k, v in optimizer.state_dict()["state"].items()}
    return everything(model) | {"state": state}, probe if watching else None


def alike(one, other):
    one, other = one | {"buffer objects": 0}, other | {"buffer objects": 0}  # two models: no object is the same
    return same(one, other)


@pytest.mark.parametrize("net", [name for name in NETS if name != "sparse"])
def test_whatever_the_model(net):
    build = OPTIMIZERS["SGD"]
    assert alike(trained(net, build, watching=False)[0], trained(net, build, watching=True)[0])


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_whatever_the_optimizer(kind):
    build = OPTIMIZERS[kind]
    end, probe = trained("batch norm and dropout", build, watching=True)
    assert alike(trained("batch norm and dropout", build, watching=False)[0], end)
    assert len(probe.record.of(thetadot.records.Motion)) == 5


def test_a_sparse_gradient():
    build = functools.partial(torch.optim.SGD, lr=0.05)
    end, probe = trained("sparse", build, watching=True)
    assert alike(trained("sparse", build, watching=False)[0], end)
    assert probe.record.of(thetadot.records.Layers)[-1].gradient[0] > 0


def test_when_a_measurement_fails(monkeypatch):
    def broken(*_, **__):
        raise ValueError("no such kernel")

    monkeypatch.setattr("thetadot.watching.soundings.sharpness", broken)
    build = OPTIMIZERS["SGD"]
    with pytest.warns(UserWarning, match="no longer measures curvature .*no such kernel.*Training goes on"):
        end, probe = trained("batch norm and dropout", build, watching=True)
    assert alike(trained("batch norm and dropout", build, watching=False)[0], end)
    remark = next(r for r in probe.record.of(thetadot.records.Remark) if r.about == "curvature")
    assert "no such kernel" in remark.says


def test_every_hook_is_taken_away():
    torch.manual_seed(1)
    make, inputs = NETS["attention and embedding"]
    model, loss_fn = make(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    with thetadot.watch(model, optimizer, loss_fn=loss_fn, reference=(inputs, TARGETS), level="full"):
        loss_fn(model(inputs), TARGETS).backward()
        optimizer.step()
    hooks = [m._forward_hooks or m._forward_pre_hooks for m in (*model.modules(), loss_fn)]
    assert not any(hooks)
    assert not any(p._backward_hooks for p in model.parameters())
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks
