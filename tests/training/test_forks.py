"""Forks: the winner is the run, the loser costs its steps and nothing else, and a kill in one changes nothing."""

import itertools
import math

import pytest
import torch
from shared.blobs import blobs
from torch import nn
from torch.utils.data import TensorDataset

import thetadot
from thetadot.records import Epoch, Fork, Motion
from thetadot.training import forks, loop
from thetadot.training.forks import RAISE, Forks
from thetadot.training.progress import Rewound
from thetadot.training.steering import Steering

from .test_run import Killed, lines, same_states
from .test_state_of_run import KINDS, end


def factorisation(std=0.01):
    """A low-rank matrix from a start near the saddle at 0, where twice the rate leaves it sooner."""
    g = torch.Generator().manual_seed(0)
    whole = torch.randn(30, 2, generator=g) @ torch.randn(2, 20, generator=g)
    pairs = torch.cartesian_prod(torch.arange(30), torch.arange(20))
    order = torch.randperm(600, generator=g)
    x, y = pairs[order], whole.reshape(-1)[order]

    class Factors(nn.Module):
        def __init__(self):
            super().__init__()
            self.rows, self.columns = (nn.Parameter(std * torch.randn(n, 4, generator=g)) for n in (30, 20))

        def forward(self, x):
            return (self.rows[x[:, 0]] * self.columns[x[:, 1]]).sum(-1)

    train, valid = TensorDataset(x[:450], y[:450]), TensorDataset(x[450:], y[450:])
    return thetadot.Task(Factors(), nn.functional.mse_loss, train, valid)


@pytest.fixture(scope="module")
def forked(tmp_path_factory):
    """Two runs that fork, one of them from a saddle, with their folder."""
    place = tmp_path_factory.mktemp("forked")
    calm = thetadot.run(blobs, out=place / "calm", epochs=4, seed=5, name="it")
    won = thetadot.run(factorisation, out=place / "won", epochs=8, seed=1, name="it")
    return place, calm, won


@pytest.fixture(scope="module")
def lost(tmp_path_factory):
    """A run whose branches are all taken for lost."""
    level = forks.Open.level
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forks.Open, "level", lambda self, which: math.inf if which else level(self, which))
        run = thetadot.run(blobs, out=tmp_path_factory.mktemp("lost") / "run", epochs=4, seed=5)
    assert len(run.record.of(Fork)) == len(forks.PLACES)
    assert not any(fork.raised for fork in run.record.of(Fork))
    return run


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The same run without forks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("thetadot.training.beginning.Forks", lambda _: Steering())
        return thetadot.run(blobs, out=tmp_path_factory.mktemp("plain") / "run", epochs=4, seed=5)


def test_the_run_goes_on_from_the_branch_with_the_lower_training_loss(forked):
    for run in forked[1:]:
        found = run.record.of(Fork)
        assert len(found) == len(forks.PLACES) - (len(found) < len(forks.PLACES))
        for fork in found:
            half = fork.steps // 2
            levels = [sum(some[half:]) / len(some[half:]) for some in (fork.losses, fork.other_losses)]
            assert (fork.level, fork.other_level) == pytest.approx(tuple(levels))
            assert fork.raised == (fork.other_level < fork.level)
            assert fork.losses[0] == fork.other_losses[0], "both see the same batch, from the same state"
        for one, two in itertools.pairwise(found):
            assert two.lr == pytest.approx(one.other_lr if one.raised else one.lr)


def test_forks_that_are_lost_leave_no_trace_in_the_run(lost, plain):
    assert same_states(lost.final_state, plain.final_state)
    assert same_states(lost.best_state, plain.best_state)
    ends = [[(e.epoch, e.train_loss, e.valid_loss) for e in run.record.of(Epoch)] for run in (lost, plain)]
    assert ends[0] == ends[1]


class Doubling(Steering):
    """Raises the rate where a run's forks were won, without a fork."""

    def __init__(self, won):
        self.won = {fork.step: fork.other_lr for fork in won if fork.raised}

    def begin(self, loop):
        if loop.progress.step in self.won:
            loop.progress.factor = self.won[loop.progress.step] / loop.plan.lr


def test_a_branch_that_won_is_the_run(forked, tmp_path, monkeypatch):
    won = forked[2].record.of(Fork)
    assert sum(fork.raised for fork in won) >= 2
    monkeypatch.setattr("thetadot.training.beginning.Forks", lambda _: Doubling(won))
    plain = thetadot.run(factorisation, out=tmp_path / "a", epochs=8, seed=1)
    assert same_states(forked[2].final_state, plain.final_state)
    assert same_states(forked[2].best_state, plain.best_state)


def test_only_the_loser_costs(lost, plain):
    paid = sum(fork.steps * 16 for fork in lost.record.of(Fork))
    assert lost.record.result.cost - plain.record.result.cost == pytest.approx(paid)
    assert lost.record.result.steps == plain.record.result.steps


def test_a_rate_that_is_given_is_not_forked(plain):
    assert not plain.record.of(Fork)
    assert {m.lr for m in plain.record.of(Motion) if 0.1 < m.epoch / 4 < 0.6} == {0.016}


def kill_at(monkeypatch, step):
    """Save after every step, and kill when so many steps were taken, those of branches counted."""
    monkeypatch.setattr(loop, "LOST", (0.0, 1))
    taken = 0
    took = Forks.took

    def counted(self, loop, loss):
        nonlocal taken
        taken += 1
        if taken > step:
            raise Killed
        took(self, loop, loss)

    monkeypatch.setattr(Forks, "took", counted)


def killed_and_resumed(make, folder, step, **options):
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, step)
        with pytest.raises(Killed):
            thetadot.run(make, out=folder, name="it", **options)
    torch.manual_seed(123)  # a new process stands elsewhere
    return thetadot.run(make, out=folder, name="it", resume=True, **options)


def places_in_forks(run):
    """Steps, those of branches counted, in the run's and in the branch's part of a fork, and at its ends."""
    fork, after = run.record.of(Fork)[0], 0
    return [fork.step + k for k in (1, fork.steps, fork.steps + 1, 2 * fork.steps, 2 * fork.steps + 1 + after)]


@pytest.mark.parametrize("at", [0, pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("which", [0, 1])
def test_a_run_killed_in_a_fork_and_resumed_is_the_same_run(forked, tmp_path, which, at):
    place, run = forked[0], forked[1 + which]
    make, options = ((blobs, {"epochs": 4, "seed": 5}), (factorisation, {"epochs": 8, "seed": 1}))[which]
    again = killed_and_resumed(make, tmp_path / "b", places_in_forks(run)[at], **options)
    assert same_states(run.final_state, again.final_state)
    assert same_states(run.best_state, again.best_state)
    assert lines(place / ("calm", "won")[which]) == lines(tmp_path / "b")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_so_is_one_whose_model_or_loss_has_a_state(kind, tmp_path):
    make, options = KINDS[kind], {"epochs": 3, "batch_size": 20}
    whole = thetadot.run(make, out=tmp_path / "a", name="it", **options)
    for number, step in enumerate(places_in_forks(whole)):
        again = killed_and_resumed(make, tmp_path / f"b{number}", step, **options)
        assert all(map(torch.equal, end(whole), end(again)))


def raw():
    """Targets far from 0, so that the last bias is moved: it must not count into how large a rate may be."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(240, 3, generator=g)
    data = TensorDataset(x, 800.0 + x[:, :1])
    return thetadot.Task(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)), nn.functional.mse_loss, data, data)


def test_so_is_one_whose_last_bias_was_moved(tmp_path):
    whole = thetadot.run(raw, out=tmp_path / "a", name="it", epochs=10)
    assert all(fork.other_lr < 1.0 for fork in whole.record.of(Fork))
    again = killed_and_resumed(raw, tmp_path / "b", 3, epochs=10)
    assert same_states(whole.final_state, again.final_state)
    assert lines(tmp_path / "a") == lines(tmp_path / "b")


class Cliff(nn.Module):
    """Fine at the rate that the run starts with; not a number as soon as the weight moves faster than that."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.full((8,), 3.0))
        self.register_buffer("last", torch.full((8,), 3.0))

    def forward(self, x):
        moved = (self.weight - self.last).detach().abs().max()
        self.last = self.weight.detach().clone()
        return (x * self.weight).sum(1) * (math.nan if moved > 0.0175 else 1.0)


def test_a_branch_that_is_lost_is_no_rollback(tmp_path):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(640, 8, generator=g)
    data = TensorDataset(x, x.sum(1))
    run = thetadot.run(thetadot.Task(Cliff(), nn.functional.mse_loss, data, data), out=tmp_path / "a", epochs=5)
    found = run.record.of(Fork)
    assert found
    assert all(fork.other_level is None and not fork.raised and "ran away" in fork.because for fork in found)
    assert not run.record.of(thetadot.records.Rollback)
    assert run.record.result.valid_loss < run.record.of(Epoch)[0].valid_loss


def test_the_rate_stays_below_half_of_the_parameters_size(tmp_path):
    run = thetadot.run(lambda: factorisation(std=0.01), out=tmp_path / "a", epochs=3, seed=1)
    assert run.record.result.lr == pytest.approx(0.5 * 0.01, rel=0.1)
    assert all(fork.other_lr <= RAISE * fork.lr * (1 + 1e-9) for fork in run.record.of(Fork))


def test_a_turn_is_control_flow_that_no_user_sees(forked):
    assert issubclass(Rewound, Exception)
    assert forked[1].record.result.steps == forked[1].record.of(Epoch)[-1].step
