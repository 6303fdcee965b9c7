"""The running mean: its weights in closed form, what it leaves as it was, and that it is what a run validates."""

import math

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import thetadot
from thetadot.records import Epoch, Rollback, standing
from thetadot.training.mean import POWER, RunningMean

from .test_run import Killed, same_states

X, Y = torch.randn(64, 3, generator=torch.Generator().manual_seed(0)), torch.zeros(64, 1)


def task_of(model, loss=nn.functional.mse_loss):
    return thetadot.Task(model, loss, TensorDataset(X, Y), TensorDataset(X, Y))


def rising(step):
    """s (s + 1) ... (s + γ - 1): what step s counts for, by the recursion's product."""
    return math.prod(step + k for k in range(int(POWER)))


def test_the_mean_is_the_sum_with_rising_factorials():
    model = nn.Linear(3, 2).double()
    mean = RunningMean(task_of(model))
    g, seen = torch.Generator().manual_seed(1), []
    for _ in range(40):
        with torch.no_grad():
            for p in model.parameters():
                p.copy_(torch.randn(p.shape, generator=g))
        seen.append([p.detach().clone() for p in model.parameters()])
        mean.take()
    weights = [rising(step) for step in range(1, 41)]
    for at, value in enumerate(mean.values):
        wanted = sum(w * some[at] for w, some in zip(weights, seen, strict=True)) / sum(weights)
        torch.testing.assert_close(value, wanted)


def test_half_of_a_long_mean_lies_in_about_its_last_seventh():
    weights = [rising(step) for step in range(1, 1001)]
    assert sum(weights[870:]) / sum(weights) == pytest.approx(0.5, abs=0.01)


def test_what_is_put_is_taken_back_bit_for_bit():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    mean = RunningMean(task_of(model))
    for _ in range(5):
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn_like(p))
        model(X)
        mean.take()
    before = {name: value.clone() for name, value in model.state_dict().items()}

    def failing():
        with mean.put():
            assert not torch.equal(model[0].weight, before["0.weight"])
            assert not torch.equal(model[1].running_mean, before["1.running_mean"])
            assert torch.equal(model[1].num_batches_tracked, before["1.num_batches_tracked"])
            raise KeyError

    with pytest.raises(KeyError):
        failing()
    assert same_states(model.state_dict(), before)


def test_before_the_first_step_the_mean_is_the_model():
    model = nn.Linear(3, 1)
    mean = RunningMean(task_of(model))
    before = model.weight.detach().clone()
    with mean.put():
        assert torch.equal(model.weight, before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_mean_of_half_precision_does_not_stall(dtype):
    model = nn.Linear(3, 1, bias=False).to(dtype)
    mean = RunningMean(task_of(model))
    steps = 2000
    for step in range(steps):
        with torch.no_grad():
            model.weight.fill_(float(step >= steps // 2))
        mean.take()
    late = [rising(step) for step in range(1, steps + 1)]
    assert float(mean.values[0][0, 0]) == pytest.approx(sum(late[steps // 2 :]) / sum(late), abs=1e-3)


def test_parameters_of_a_loss_and_shared_ones_are_averaged_once():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, output, target):
            return self.scale * (output - target).square().mean()

    first = nn.Linear(3, 3)
    model = nn.Sequential(first, first, nn.Linear(3, 1))
    loss = Scaled()
    mean = RunningMean(task_of(model, loss))
    assert len(mean.tensors) == len({id(t) for t in mean.tensors}) == 5
    mean.take()
    with torch.no_grad():
        loss.scale.fill_(7.0)
    mean.take()
    with mean.put():
        assert float(loss.scale.detach()) == pytest.approx(1.0 + 6.0 * RunningMean.weight(2))
    assert float(loss.scale.detach()) == 7.0


def test_a_copy_that_is_loaded_is_the_mean_and_one_of_another_model_is_refused():
    model = nn.Linear(3, 1)
    mean = RunningMean(task_of(model))
    mean.take()
    state = mean.state_dict()
    other = RunningMean(task_of(nn.Linear(3, 1)))
    other.load_state_dict(state)
    assert other.taken == 1
    assert all(torch.equal(a, b) for a, b in zip(other.values, mean.values, strict=True))
    for stranger in (nn.Linear(4, 1), nn.Linear(3, 1, bias=False)):
        with pytest.raises((ValueError, RuntimeError)):
            RunningMean(task_of(stranger)).load_state_dict(state)


@pytest.fixture
def followed(monkeypatch):
    """Every state that a mean takes in."""
    seen = []
    take = RunningMean.take

    def noted(self):
        take(self)
        seen.append([t.detach().double().clone() for t in self.tensors])

    monkeypatch.setattr(RunningMean, "take", noted)
    monkeypatch.setattr("thetadot.training.forks.Forks.places", ())
    return seen


PLAN = {"epochs": 16, "seed": 1, "page": False}


def noisy():
    """Few samples with noisy targets: the validation loss turns soon, so that the mean is looked at."""
    g = torch.Generator().manual_seed(4)
    x, y = torch.randn(160, 6, generator=g), torch.randn(160, 1, generator=g)
    y = y + x[:, :1]
    model = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Linear(16, 1))
    data = [TensorDataset(x[part], y[part]) for part in (slice(0, 96), slice(96, 160))]
    return thetadot.Task(model, nn.functional.mse_loss, *data)


def linear():
    """Noise limits it: while the rate is constant, the mean of the parameters is better than they are."""
    g = torch.Generator().manual_seed(5)
    x = torch.randn(1024, 12, generator=g)
    y = x.sum(1, keepdim=True)
    data = [
        TensorDataset(x[:768], (y + 2.0 * torch.randn(y.shape, generator=g))[:768]),
        TensorDataset(x[768:], y[768:]),
    ]
    return thetadot.Task(nn.Linear(12, 1), nn.functional.mse_loss, *data)


def epochs_of(run):
    return standing(run.record, Epoch)[0]


def test_the_mean_takes_the_validation_that_follows_one_that_came_no_lower(tmp_path):
    run = thetadot.run(noisy, out=tmp_path / "run", **PLAN)
    lowest, came_lower = math.inf, True
    for epoch in epochs_of(run):
        assert epoch.mean == (not came_lower and epoch.epoch < 16)
        came_lower = epoch.mean or epoch.valid_loss < lowest
        lowest = min(lowest, epoch.valid_loss)
    assert sum(epoch.mean for epoch in epochs_of(run)) > 2
    assert run.record.result.valid_loss == lowest


def test_the_mean_is_returned_where_it_is_the_best_and_the_result_says_so(tmp_path, monkeypatch, followed):
    stop = "thetadot.training.loop.Loop._late"
    monkeypatch.setattr(
        stop, lambda loop: loop.last_epoch.epoch > 5 and not loop.last_epoch.mean and loop.progress.best_mean
    )
    run = thetadot.run(linear, out=tmp_path / "run", **PLAN | {"epochs": 20})
    closing = run.record.result
    best = next(epoch for epoch in epochs_of(run) if epoch.epoch == closing.best_epoch)
    assert closing.mean
    assert best.mean
    assert best.valid_loss == closing.valid_loss
    assert "running mean of the parameters" in repr(run)
    weights = [rising(s) for s in range(1, best.step + 1)]
    for at, name in enumerate(["weight", "bias"]):
        wanted = sum(w * some[at] for w, some in zip(weights, followed[: best.step], strict=True)) / sum(weights)
        torch.testing.assert_close(run.best_state[name].double(), wanted, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(run.final_state[name].double(), followed[-1][at], rtol=0, atol=0)


def test_the_mean_changes_no_step_and_costs_no_evaluation(tmp_path, monkeypatch):
    with_mean = thetadot.run(noisy, out=tmp_path / "a", **PLAN)
    monkeypatch.setattr("thetadot.training.beginning.RunBeginning.mean", lambda self: None)
    without = thetadot.run(noisy, out=tmp_path / "b", **PLAN)
    ours, theirs = with_mean.record.result, without.record.result
    assert not with_mean.record.of(Rollback)
    assert same_states(with_mean.final_state, without.final_state)
    assert (ours.final_valid_loss, ours.cost) == (theirs.final_valid_loss, theirs.cost)
    assert not theirs.mean
    assert not any(epoch.mean for epoch in epochs_of(without))


@pytest.mark.parametrize("given", [{"lr": 0.01}, {"fork_memory": 0}])
def test_a_rate_that_is_given_and_a_model_without_room_have_no_mean(tmp_path, given):
    run = thetadot.run(noisy, out=tmp_path / "run", **PLAN, **given)
    assert not run.record.result.mean
    assert not any(epoch.mean for epoch in epochs_of(run))


def test_a_run_that_is_stopped_by_time_tells_the_loss_of_its_last_parameters(tmp_path, monkeypatch):
    """Time runs out at an epoch whose validation was the mean's."""
    late = thetadot.training.loop.Loop._late
    monkeypatch.setattr(
        "thetadot.training.loop.Loop._late",
        lambda loop: late(loop) or (loop.last_epoch is not None and loop.last_epoch.mean),
    )
    run = thetadot.run(noisy, out=tmp_path / "run", **PLAN)
    closing, last = run.record.result, epochs_of(run)[-1]
    assert last.mean
    assert closing.epochs == last.epoch < 16
    task = noisy()
    task.model.load_state_dict(run.final_state)
    task.model.eval()
    x, y = task.valid.tensors
    with torch.no_grad():
        assert closing.final_valid_loss == pytest.approx(float(task.loss(task.model(x), y)), rel=1e-5)


@pytest.mark.parametrize("at", [41, 77])
def test_a_run_that_is_killed_and_resumed_has_the_same_mean(tmp_path, monkeypatch, at):
    whole = thetadot.run(noisy, out=tmp_path / "whole", **PLAN)
    take, count = RunningMean.take, [0]

    def killed(self):
        count[0] += 1
        if count[0] == at:
            raise Killed
        take(self)

    monkeypatch.setattr(RunningMean, "take", killed)
    monkeypatch.setattr("thetadot.training.loop.LOST", (0.02, 9))
    with pytest.raises(Killed):
        thetadot.run(noisy, out=tmp_path / "cut", **PLAN)
    monkeypatch.setattr(RunningMean, "take", take)
    resumed = thetadot.run(noisy, out=tmp_path / "cut", **PLAN, resume=True)
    assert same_states(resumed.best_state, whole.best_state)
    assert same_states(resumed.final_state, whole.final_state)
    assert [(e.valid_loss, e.mean) for e in epochs_of(resumed)] == [(e.valid_loss, e.mean) for e in epochs_of(whole)]
