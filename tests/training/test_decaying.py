"""Weight decay: in closed form, of matrices alone, and only while a run knows its training data better than others."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import thetadot
from thetadot.records import Choice
from thetadot.training.decaying import decays, look
from thetadot.training.forgetting import FORGOTTEN, decay_of
from thetadot.training.plan import TrainingPlan, put
from thetadot.training.progress import TrainingProgress
from thetadot.translation import Settings

from .test_mean import PLAN

ADAM = TrainingPlan("adam", 0.01, 0.9, 16, 16, decay=0.5)


@pytest.mark.parametrize(("lr", "steps"), [(0.016, 300), (0.016, 20_000), (1e-3, 5000)])
def test_a_run_forgets_its_beginning_by_one_factor_however_long_it_is(lr, steps):
    left = (1.0 - lr * decay_of(lr, steps)) ** steps
    assert left == pytest.approx(math.exp(-FORGOTTEN), rel=0.01)


def test_matrices_shrink_by_lr_times_decay_and_biases_stay():
    model = nn.Linear(3, 2).double()
    before = [p.detach().clone() for p in model.parameters()]
    optimizer = ADAM.build(model.parameters())
    for decay, factor in ((0.0, 1.0), (0.5, 1.0 - 0.01 * 0.5)):
        put(optimizer, Settings(0.01, 0.9), decay)
        for p in model.parameters():
            p.grad = torch.zeros_like(p)
        optimizer.step()
        torch.testing.assert_close(model.weight.detach(), factor * before[0], rtol=1e-14, atol=0)
        assert torch.equal(model.bias, before[1])
    put(optimizer, Settings(0.01, 0.9))
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.0, 0.0]


@pytest.mark.parametrize("unit", [1.0, 1e-6, 1e6])
@pytest.mark.parametrize(
    ("losses", "wanted"),
    [
        ([(0.5, 0.5), (0.4, 0.42)], [False, False]),  # they agree
        ([(0.5, 0.6), (0.4, 0.6), (0.4, 0.6)], [False, False, True]),  # three in a row
        ([(0.5, 0.6), (0.4, 0.6), (0.5, 0.5), (0.4, 0.6)], [False] * 4),  # two are scatter
        ([(0.4, 0.6)] * 3 + [(0.5, 0.5)], [False, False, True, False]),  # as long as it lasts
        ([(-2.0, -1.0)] * 3, [False, False, True]),  # losses below zero
        ([(0.6, 0.5)] * 4, [False] * 4),  # dropout: the validation loss is the lower one
    ],
)
def test_it_decays_while_three_epochs_lie_apart_whatever_the_losses_unit(losses, wanted, unit):
    written = []
    progress = TrainingProgress()
    loop = SimpleNamespace(progress=progress, plan=ADAM, write=written.append)
    found = []
    for train, valid in losses:
        look(loop, unit * train, unit * valid, hidden=False)
        found.append(decays(progress))
    assert found == wanted
    assert [entry.setting for entry in written] == ["weight_decay"] * any(wanted), "said once"


def by_heart():
    """More inputs than it takes to learn the noise of the targets by heart."""
    g = torch.Generator().manual_seed(6)
    x = torch.randn(192, 40, generator=g)
    y = x[:, :4].sum(1, keepdim=True) + torch.randn(192, 1, generator=g)
    data = [TensorDataset(x[part], y[part]) for part in (slice(0, 96), slice(96, 192))]
    return thetadot.Task(nn.Sequential(nn.Linear(40, 32), nn.Tanh(), nn.Linear(32, 1)), nn.functional.mse_loss, *data)


def test_a_run_that_overfits_decays_and_says_why(tmp_path):
    run = thetadot.run(by_heart, out=tmp_path / "run", **PLAN)
    (said,) = [choice for choice in run.record.of(Choice) if choice.setting == "weight_decay"]
    assert said.source == "measured"
    assert said.value == pytest.approx(decay_of(0.016, 96))


@pytest.mark.parametrize("given", [{"lr": 0.01}, {"optimizer": "heavy-ball"}])
def test_a_rate_that_is_given_and_heavy_ball_are_not_decayed(tmp_path, given):
    run = thetadot.run(by_heart, out=tmp_path / "run", **PLAN, **given)
    assert not [choice for choice in run.record.of(Choice) if choice.setting == "weight_decay"]


def test_a_run_whose_losses_agree_is_not_decayed(tmp_path):
    def exact():
        x = torch.randn(256, 4, generator=torch.Generator().manual_seed(0))
        data = TensorDataset(x, x.sum(1, keepdim=True))
        return thetadot.Task(nn.Linear(4, 1), nn.functional.mse_loss, data, data)

    run = thetadot.run(exact, out=tmp_path / "run", **PLAN)
    assert not [choice for choice in run.record.of(Choice) if choice.setting == "weight_decay"]
    assert run.record.result.valid_loss < 1e-3
