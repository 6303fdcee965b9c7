"""A watched run is the run: parameters, gradients, buffers, optimizer state and random numbers, bit for bit."""

import contextlib
import copy
import functools
import itertools

import numpy as np
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

    monkeypatch.setattr("thetadot.monitor.measurements.curvature.sharpness", broken)
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


class Centred(nn.Module):
    """A running centre in the loss."""

    def __init__(self):
        super().__init__()
        self.register_buffer("centre", torch.zeros(3))

    def forward(self, output, target):
        value = nn.functional.cross_entropy(output - self.centre, target)
        with torch.no_grad():
            self.centre.mul_(0.9).add_(0.1 * output.mean(0))
        return value


class Keeping(nn.Module):
    """State in every place that is not a registered buffer."""

    def __init__(self):
        super().__init__()
        self.layer = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3))
        self.generator, self.numbers = torch.Generator().manual_seed(0), np.random.default_rng(0)
        self.calls, self.past = 0, []

    def forward(self, x):
        self.calls += 1
        self.past.append(float(x.sum()))
        if not hasattr(self, "late"):
            self.register_buffer("late", torch.zeros(4))
        self.late += 0.1 * x.detach().mean(0)
        noise = torch.randn(x.shape, generator=self.generator) + self.numbers.normal() + np.random.rand()  # noqa: NPY002
        return self.layer(x + self.late + 0.01 * noise + 0.01 * (self.calls + len(self.past)))


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.e, self.l = nn.Embedding(50, 4, max_norm=0.5), nn.Linear(4, 3)

    def forward(self, x):
        return self.l(self.e((x[:, 0].abs() * 20).long().clamp(max=49)))


class Elsewhere(nn.Module):
    """State that cannot be found: an iterator over numbers."""

    def __init__(self):
        super().__init__()
        self.layer, self.numbers = nn.Linear(4, 3), itertools.count()

    def forward(self, x):
        return self.layer(x) * (1.0 + 0.01 * next(self.numbers))


@pytest.mark.filterwarnings("ignore:thetadot.watch, reference")
@pytest.mark.parametrize("level", ["default", "full"])
@pytest.mark.parametrize(
    ("make", "loss"),
    [
        (lambda: nn.Linear(4, 3), Centred),
        (Keeping, nn.CrossEntropyLoss),
        (Normed, nn.CrossEntropyLoss),
        (Elsewhere, Centred),
    ],
)
def test_wherever_state_lies(make, loss, level):
    def end(watching):
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002
        x, y = torch.randn(64, 4), torch.arange(64) % 3
        model, loss_fn = make(), loss()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        watch = thetadot.watch(model, optimizer, loss_fn=loss_fn, reference=(x, y), level=level)
        with watch if watching else contextlib.nullcontext():
            for _ in range(12):
                rows = torch.randperm(64)[:16]
                optimizer.zero_grad()
                loss_fn(model(x[rows]), y[rows]).backward()
                optimizer.step()
        said = [remark.says for remark in watch.record.of(thetadot.records.Remark) if remark.about == "reference"]
        measured = watch.record.of(thetadot.records.Curvature)
        return [p.detach().clone() for p in model.parameters()], said, measured

    plain, watched = end(watching=False), end(watching=True)
    assert all(map(torch.equal, plain[0], watched[0]))
    if make is Elsewhere:
        assert "Elsewhere" in watched[1][0]
        assert not watched[2]
    else:
        assert watched[2]


def test_a_watch_that_was_never_entered_leaves_no_hook():
    model, loss_fn = nn.Linear(4, 3), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    probe = thetadot.watch(model, optimizer, loss_fn=loss_fn, reference=(torch.ones(16, 4), torch.ones(16).long()))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in (model, loss_fn))
    assert not any(p._post_accumulate_grad_hooks for p in model.parameters())
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks
    with pytest.warns(UserWarning, match="never entered"):
        probe.close()


def test_eval_is_named_where_no_pass_was_seen():
    model, loss_fn = nn.Linear(4, 3).eval(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with thetadot.watch(model, optimizer, loss_fn=loss_fn) as probe:
        loss_fn(model(torch.ones(16, 4)), torch.ones(16).long()).backward()
        with pytest.warns(UserWarning, match=r"model is in eval\(\)"):
            optimizer.step()
    assert "eval()" in probe.record.of(thetadot.records.Remark)[0].says


@pytest.mark.filterwarnings("ignore::UserWarning:torch")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_curvature_of_narrow_parameters_is_that_of_the_same_values_in_float32(dtype):
    torch.manual_seed(1)
    x, y = torch.randn(64, 4), torch.arange(64) % 3
    found = []
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).to(dtype)
    for kind in (dtype, torch.float32):
        twin = copy.deepcopy(model).to(kind)
        optimizer, loss_fn = torch.optim.SGD(twin.parameters(), lr=0.0), nn.CrossEntropyLoss()
        with thetadot.watch(twin, optimizer, loss_fn=loss_fn, reference=(x.to(dtype).to(kind), y)) as probe:
            loss_fn(twin(x.to(dtype).to(kind)), y).backward()
            optimizer.step()
        found.append(probe.record.of(thetadot.records.Curvature)[0])
    narrow, wide = found
    assert narrow.method == "lanczos"
    assert narrow.sharpness == pytest.approx(wide.sharpness, rel=1e-4)
    assert narrow.high == pytest.approx(wide.high, rel=1e-3)
