"""Windows that grow: means are kept whatever the blocks, and a plateau comes to be told."""

import numpy as np
import pytest
import torch
from torch import nn

import thetadot
from thetadot.core.reading import Reading
from thetadot.monitor.pending import Sample
from thetadot.monitor.window import LONGEST, EstimationWindow, equilibrium
from thetadot.records import Equilibrium


@pytest.mark.parametrize("count", [3, LONGEST - 1, LONGEST, LONGEST + 1, 5 * LONGEST + 3])
def test_blocks_keep_every_reading(count):
    values = np.random.default_rng(0).normal(size=count)
    window = EstimationWindow()
    for step, value in enumerate(values):
        window.append(Sample(step, Reading(step=0.1, friction=None, limit=0.0), *[float(value)] * 6, step))
    samples = window.samples
    assert window.readings == count
    assert len(samples) <= LONGEST
    assert sum(s.count * s.virial for s in samples) == pytest.approx(values.sum(), abs=1e-9)
    assert [s.since for s in samples] == [0, *(s.step + 1 for s in samples[:-1])]
    assert len({s.count for s in samples[:-1]}) <= 1
    assert samples[-1].count <= samples[0].count


def test_an_estimate_leaves_out_the_block_that_is_not_full():
    window = EstimationWindow()
    for step in range(LONGEST + 1):
        window.append(Sample(step, Reading(step=0.1, friction=None, limit=0.0), *[float(step)] * 6, step))
    found = equilibrium(window.samples, 1)
    assert (found.samples, found.since, found.step) == (LONGEST, 0, LONGEST - 1)


@pytest.mark.slow
def test_a_noisy_regression_at_constant_lr_comes_to_rest_with_a_ratio_of_one():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4000, 8, generator=generator)
    y = x.sum(1, keepdim=True) + 2 * torch.randn(4000, 1, generator=generator)
    torch.manual_seed(0)
    model, loss_fn = nn.Linear(8, 1, bias=False), nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.5)
    with thetadot.watch(model, optimizer, loss_fn=loss_fn, level="full") as probe:
        for _ in range(2540):
            rows = torch.randint(4000, (4,), generator=generator)
            optimizer.zero_grad()
            loss_fn(model(x[rows]), y[rows]).backward()
            optimizer.step()
    last = probe.record.of(Equilibrium)[-1]
    assert last.samples > 2 * LONGEST
    assert last.state == "stationary"
    assert last.low <= 1 <= last.high
    assert last.ratio == pytest.approx(1.0, abs=0.1)
    assert len({e.step for e in probe.record.of(Equilibrium)}) == len(probe.record.of(Equilibrium))
