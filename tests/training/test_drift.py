"""The drift of the mean motion raises the rate where it leads downhill, and resumes exactly."""

import pytest
import torch
from shared.blobs import blobs

import thetadot
from thetadot.records import Fork
from thetadot.training import loop
from thetadot.training.drift import AHEAD, PLACES, Drift

from .test_forks import factorisation
from .test_run import Killed, lines, same_states

SMALL = {"fork_memory": 0, "name": "it"}


def test_a_model_too_large_for_a_copy_follows_its_mean_motion(tmp_path):
    run = thetadot.run(factorisation, out=tmp_path / "a", epochs=8, seed=1, **SMALL)
    found = run.record.of(Fork)
    assert {fork.method for fork in found} == {"drift"}
    assert len(found) == len(PLACES)
    assert all(fork.raised == (fork.other_level < fork.level) for fork in found)
    assert any(fork.raised for fork in found), "from a saddle the way leads on"
    assert run.record.header.asked["fork_memory"] == "0"


def test_a_model_whose_layers_need_two_samples_is_not_judged_on_one(tmp_path):
    x = torch.randn(96, 4, generator=torch.Generator().manual_seed(0))

    def small():
        model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 1))
        data = torch.utils.data.TensorDataset(x, x[:, :1])
        return thetadot.Task(model, torch.nn.functional.mse_loss, data, data)

    run = thetadot.run(small, out=tmp_path / "a", epochs=12, page=False, **SMALL)
    assert not run.record.of(Fork), "so few samples pay for a judgement on one, which has no variance"


def test_the_limit_is_of_the_parameters_bytes(tmp_path):
    size = sum(p.numel() * 4 for p in factorisation().model.parameters())
    for limit, method in ((size, "branch"), (size - 1, "drift")):
        run = thetadot.run(factorisation, out=tmp_path / method, epochs=2, seed=1, fork_memory=limit)
        assert run.record.of(Fork)[0].method == method


def test_it_judges_at_the_mean_and_twice_as_far_and_leaves_the_run_where_it_was():
    """On a line θ = t: means 1 and 4 over three steps each, so 4 + 2·3 = 10 ahead."""

    class Line:
        plan = type("Plan", (), {"lr": 0.1})
        spent = 0.0

        def __init__(self):
            self.parameters = [torch.zeros(1)]
            self.progress = thetadot.training.loop.TrainingProgress()
            self.total, self.written, self.places = 100, [], []
            self.seen = 6  # samples

        def loss_on(self, _):
            self.places.append(float(self.parameters[0]))
            return -self.places[-1]

        def highest(self):
            return float("inf")

        write = property(lambda self: self.written.append)

    line, drift = Line(), Drift(100, [0])
    for t in range(6):
        drift.begin(line)
        line.parameters[0].fill_(float(t))
        drift.took(line, 0.0)
    assert line.places == [4.0, 4.0 + AHEAD * 3.0]
    assert float(line.parameters[0]) == 5.0
    assert line.progress.factor == 2.0
    assert line.written[0].raised


@pytest.mark.parametrize("step", [17, 26])
def test_a_run_killed_while_it_looks_and_resumed_is_the_same_run(tmp_path, monkeypatch, step):
    options = SMALL | {"epochs": 3, "seed": 5}
    whole = thetadot.run(blobs, out=tmp_path / "a", **options)
    taken, took = 0, Drift.took

    def counted(self, loop, loss):
        nonlocal taken
        taken += 1
        if taken > step:
            raise Killed
        took(self, loop, loss)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "LOST", (0.0, 1))
        patch.setattr(Drift, "took", counted)
        with pytest.raises(Killed):
            thetadot.run(blobs, out=tmp_path / "b", **options)
    again = thetadot.run(blobs, out=tmp_path / "b", resume=True, **options)
    assert same_states(whole.final_state, again.final_state)
    assert lines(tmp_path / "a") == lines(tmp_path / "b")
