"""Oracles: a hyperbola with a known scale, noise that is nothing or everything, the untouched originals."""

import copy
import math

import pytest
import torch
from torch import nn

from thetadot.errors import InadmissibleValue, TaskError
from thetadot.training import critical_batch
from thetadot.training.branching import _fitted, _Ran, _reached


def problem(noise=1.0, d=8, n=1024, seed=0):
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=draw)
    y = x.sum(1, keepdim=True) + noise * torch.randn(n, 1, generator=draw)
    model = nn.Linear(d, 1)
    with torch.no_grad():
        model.weight.zero_()
        model.bias.zero_()
    return model, (x, y)


def measured(lr, noise=1.0, optimizer=torch.optim.SGD, **more):
    model, data = problem(noise)
    return critical_batch(model, nn.functional.mse_loss, data, optimizer(model.parameters(), lr=lr), **more)


@pytest.mark.parametrize("scale", [3.0, 20.0, 400.0])
@pytest.mark.parametrize("batch", [1, 8])
def test_of_efficiencies_on_a_hyperbola_its_scale_is_found(scale, batch):
    factors = (1, 2, 4, 8, 16, 32)
    exact = [(1 + batch / scale) / (1 + batch * k / scale) for k in factors]
    assert _fitted(exact, batch, factors) == pytest.approx(scale, rel=0.05)


def test_how_far_a_branch_came_is_read_between_looks_of_a_curve_that_may_rise():
    first = _Ran([0, 10, 20, 30], [4.0, 2.0, 3.0, 1.0], 0.1)
    assert _reached(first, 3.0) == pytest.approx(5.0)
    assert _reached(first, 2.0) == pytest.approx(10.0)
    assert _reached(first, 1.5) == pytest.approx(25.0)
    assert _reached(first, 0.5) == 30.0
    assert 0 < _reached(first, 9.0) < 0.1
    assert 0 < _reached(first, math.nan) < 0.1


def test_at_small_steps_nothing_is_lost_and_the_scale_is_only_bounded():
    found = measured(1e-3, batch_size=2, factors=(1, 2, 4), repeats=2)  # lr·k·h far below 2: the linear rule is exact
    assert not found.resolved
    assert found.high == math.inf
    assert all(branch.efficiency > 0.9 for branch in found.branches)


def test_at_the_edge_the_linear_rule_leads_over_it_and_the_batch_is_lost():
    found = measured(
        0.1, batch_size=8, factors=(1, 2, 4, 16), samples=1024, repeats=3, powers=(1.0,)
    )  # 1.6·h at k = 16
    assert found.resolved
    assert found.branches[-1].efficiency < 0.1
    assert found.low <= found.batch <= found.high < 128


def test_of_several_powers_the_one_counts_that_came_farthest():
    both, *one = (
        measured(0.1, batch_size=8, factors=(1, 16), samples=1024, repeats=2, powers=powers).branches[-1]
        for powers in ((0.5, 1.0), (0.5,), (1.0,))
    )
    assert both == max(one, key=lambda branch: branch.efficiency)
    assert both.lr == pytest.approx(0.4)
    assert both.batch == 128


def test_everything_stays_as_it_was_and_a_repeat_is_the_same():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(0.1), nn.Linear(8, 1))
    _, (x, y) = problem()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.002, momentum=0.9)
    nn.functional.mse_loss(model(x), y).backward()
    optimizer.step()
    before = copy.deepcopy((model.state_dict(), optimizer.state_dict()["state"]))
    grads, rng = [p.grad.clone() for p in model.parameters()], torch.get_rng_state()
    one, two = (
        critical_batch(model, nn.functional.mse_loss, (x, y), optimizer, batch_size=4, factors=(1, 4), repeats=2)
        for _ in range(2)
    )
    assert one == two
    assert torch.equal(rng, torch.get_rng_state())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[0][name])
    for key, state in optimizer.state_dict()["state"].items():
        assert torch.equal(state["momentum_buffer"], before[1][key]["momentum_buffer"])
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), grads, strict=True))
    assert model.training


def test_our_optimizers_branch_too():
    from thetadot.optim import HeavyBall

    found = measured(0.01, optimizer=lambda p, lr: HeavyBall(p, lr=lr, momentum=0.5), batch_size=2, factors=(1, 2))
    assert found.branches[1].lr == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"factors": (2, 4)}, "factors"),
        ({"factors": (1, 4, 2)}, "factors"),
        ({"factors": (1,)}, "factors"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 2.5}, "batch_size"),
        ({"samples": 3}, "below 4 steps"),
        ({"repeats": 1}, "repeats"),
        ({"powers": (-1.0,)}, "powers"),
        ({"powers": (math.nan,)}, "powers"),
        ({"powers": ()}, "powers"),
    ],
)
def test_what_cannot_be_measured_is_refused(more, said):
    with pytest.raises(InadmissibleValue, match=said):
        measured(0.01, **{"batch_size": 2, "factors": (1, 2), **more})


def test_a_loss_that_does_not_fall_and_foreign_parameters_are_refused():
    with pytest.raises(InadmissibleValue, match="does not fall"):
        measured(10.0, batch_size=2, factors=(1, 2))
    model, data = problem()
    other = torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    with pytest.raises(InadmissibleValue, match="not the model's"):
        critical_batch(model, nn.functional.mse_loss, data, other, batch_size=2)
    with pytest.raises(TaskError, match="data is missing"):
        critical_batch(model, None, None, torch.optim.SGD(model.parameters(), lr=0.1), batch_size=2)
