"""What measuring took is never above its cap of the work done so far, from the hundredth step on."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import thetadot
from thetadot.monitor.cadence import GRACE, PLANS, Every, orthogonalisation
from thetadot.monitor.operations import Counting
from thetadot.records import Curvature, Noise, Remark

CE = nn.CrossEntropyLoss()
CAPS = {"default": 0.03, "light": 0.01}


def dense():
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3))


def kinds(model, x, y):
    """One pass a task: what is resampled is paid for as well."""
    CE(model(x), y).backward()
    model(x).square().mean().backward()


def one(model, x, y):
    CE(model(x), y).backward()


@pytest.mark.parametrize(("level", "step", "batch", "size", "build"), [
    ("default", one, 16, 16, torch.optim.SGD), ("default", one, 16, 256, torch.optim.SGD),
    ("default", one, 64, 32, torch.optim.Adam), ("default", kinds, 16, 16, torch.optim.SGD),
    ("light", one, 16, 64, torch.optim.SGD),
])  # fmt: skip
def test_measuring_stays_below_its_cap(monkeypatch, level, step, batch, size, build):
    monkeypatch.setitem(PLANS, level, replace(PLANS[level], cap=CAPS[level]))
    torch.manual_seed(0)
    model = dense()
    x, y = torch.randn(512, 6), torch.randint(0, 3, (512,))
    optimizer = build(model.parameters(), lr=0.01)
    shares = []
    with thetadot.watch(model, optimizer, loss_fn=CE, reference=(x[:size], y[:size]), level=level) as probe:
        for _ in range(1200):
            rows = torch.randint(0, 512, (batch,))
            optimizer.zero_grad()
            step(model, x[rows], y[rows])
            optimizer.step()
            if probe.step >= GRACE:
                probe.progress.count()
                shares.append(probe.extra / probe.work)
    assert max(shares) <= CAPS[level] * 1.001
    if level == "default":
        assert probe.record.of(Curvature)
        assert probe.record.of(Curvature)[0].samples <= max(16, batch)
        assert probe.record.of(Noise)


def test_a_run_that_ends_early_is_measured_where_it_ends_or_told_what_it_lacks(monkeypatch):
    monkeypatch.setitem(PLANS, "default", replace(PLANS["default"], cap=CAPS["default"]))
    x, y = torch.randn(16, 6), torch.randint(0, 3, (16,))
    for steps, measured in ((3, True), (GRACE + 50, False)):
        torch.manual_seed(0)
        model = dense()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        with thetadot.watch(model, optimizer, loss_fn=CE, reference=(x, y)) as probe:
            for _ in range(steps):
                optimizer.zero_grad()
                one(model, x, y)
                optimizer.step()
        assert bool(probe.record.of(Curvature)) == measured
        lacking = {remark.about: remark.says for remark in probe.record.of(Remark)}
        assert ("level='full'" in lacking.get("curvature", "")) == (not measured)


def test_lanczos_vectors_are_counted_by_what_they_pass():
    """Σ over k steps of two passes, each m products and m sums of vectors, and a few beside."""
    for d, weight in ((1000, 0.6), (10_000_000, 3.0)):
        k = 12
        passes = sum(4 * m for m in range(1, k + 1)) + 4 * k
        assert orthogonalisation(d, k, 1.0) == pytest.approx(weight * passes)
        assert orthogonalisation(d, k, 10.0) == pytest.approx(weight * passes / 10.0)


def test_operations_of_a_pass_are_those_of_its_products():
    model = nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.Flatten(), nn.Linear(4 * 36, 5, bias=False))
    with Counting() as counted, torch.no_grad():
        model(torch.zeros(7, 1, 8, 8))
    assert counted.operations == 2 * 7 * (36 * 9 * 4 + 4 * 36 * 5)


def test_what_was_put_off_comes_once_and_then_at_whole_periods():
    every = Every(cost=640.0, share=0.01, batch=64.0)
    every.put_off(300)
    assert not any(every.due(step) for step in range(1, 300))
    assert every.due(300)
    assert every.following(10) == 300
    every.put_off(None)
    assert [step for step in range(301, 2500) if every.due(step)] == [1000, 2000]
