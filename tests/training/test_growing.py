"""A run that prefers few steps: its first batch, what makes it grow, and that it is the same run after a kill."""

import itertools
import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import thetadot
from thetadot.errors import InadmissibleValue
from thetadot.records import Choice, Epoch, Noise
from thetadot.report.repeat import command
from thetadot.training.growing import OF_DATA, STEPS, Growing, largest
from thetadot.training.progress import TrainingProgress

from .test_run import Killed, same_states

GIVEN = {"epochs": 8, "seed": 1, "page": False, "prefer": "wall"}


def regression():
    """Targets that are mostly noise: the noise scale is large, and rises as the signal is learned."""
    g = torch.Generator().manual_seed(3)
    x = torch.randn(5120, 6, generator=g)
    y = x.sum(1, keepdim=True) + 3.0 * torch.randn(5120, 1, generator=g)
    data = [TensorDataset(x[part], y[part]) for part in (slice(0, 4096), slice(4096, 5120))]
    return thetadot.Task(nn.Linear(6, 1), nn.functional.mse_loss, *data)


def noise(low, step=10):
    return Noise("training", step, 1.0, 1.0, 2.0 * low, low, 4.0 * low, resolved=True, samples=64, cost=0.0)


def sizes_of(run):
    """Mean batch size of each epoch."""
    steps = [epoch.step for epoch in run.record.of(Epoch)]
    return [4096 / (b - a) for a, b in itertools.pairwise(steps)]


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    return thetadot.run(regression, out=tmp_path_factory.mktemp("grown") / "run", **GIVEN)


def test_a_batch_leaves_steps_and_is_a_part_of_the_data():
    assert largest(8000, 10**9) == 8000 / OF_DATA
    assert largest(10**9, 80_000) == 80_000 / STEPS
    assert largest(3, 3) == 1.0


@pytest.mark.parametrize(
    ("low", "seen", "most", "by"),
    [
        (64.0, 100, 100.0, 2),
        (127.0, 100, 1000.0, 2),
        (128.0, 100, 1000.0, 4),
        (63.0, 100, 100.0, 1),  # not surely above twice the batch
        (640.0, 100, 63.0, 1),  # no room
        (640.0, 49, 100.0, 1),  # too early
        (math.inf, 100, 1e9, 4),  # no more at a time
        (None, 100, 100.0, 1),
    ],
)
@pytest.mark.parametrize(("family", "power"), [("adam", 0.5), ("heavy-ball", 1.0)])
def test_it_grows_to_what_the_noise_scale_is_surely_above(low, seen, most, by, family, power):
    written = []
    loop = SimpleNamespace(
        progress=TrainingProgress(step=20),
        seen=seen,
        total=1000,
        plan=SimpleNamespace(optimizer=family, lr=0.01),
        guard=SimpleNamespace(piece=40),
        highest=lambda: 8.0,
        write=written.append,
    )
    growing = Growing(32, most, SimpleNamespace(noise=lambda _: None if low is None else noise(low)))
    growing.look(loop)
    growing.look(loop)  # a place counts once
    assert loop.progress.growth == by
    assert loop.progress.factor == pytest.approx(by**power)
    assert loop.guard.piece == 40 // by
    assert [entry.value for entry in written if isinstance(entry, Choice)] == [32 * by] * (by > 1)


def test_it_takes_fewer_steps_and_says_both_prices(grown, tmp_path):
    usual = thetadot.run(regression, out=tmp_path / "run", **GIVEN | {"prefer": "samples"})
    ours, theirs = grown.record.result, usual.record.result
    assert ours.steps < theirs.steps / 1.5
    assert ours.cost <= 1.085 * 8 * 4096
    assert f"{ours.steps:,}" in repr(grown)
    assert "gradient evaluations" in repr(grown)
    (first, *_) = [choice for choice in grown.record.of(Choice) if choice.setting == "batch_size"]
    assert "few large steps" in first.because


def test_an_epoch_has_one_batch_size_and_it_only_grows(grown):
    sizes = sizes_of(grown)
    assert sizes == sorted(sizes)
    assert all(size == 2 ** round(math.log2(size)) for size in sizes)
    assert len(set(sizes)) > 1
    chosen = [choice.value for choice in grown.record.of(Choice) if choice.setting == "batch_size"]
    assert chosen == sorted(set(sizes)) or chosen[:-1] == sorted(set(sizes)), (
        "the last one may come too late to be taken"
    )
    assert all(size <= largest(4096, 8 * 4096) for size in chosen)


@pytest.mark.parametrize("share", [0.3, 0.8])
def test_a_run_that_is_killed_and_resumed_grows_as_it_would_have(grown, tmp_path, monkeypatch, share):
    with monkeypatch.context() as patch:
        patch.setattr("thetadot.training.loop.LOST", (0.02, 9))
        patch.setattr("thetadot.training.loop.loss_of", _killing(share * grown.record.result.steps))
        with pytest.raises(Killed):
            thetadot.run(regression, out=tmp_path / "run", **GIVEN)
    resumed = thetadot.run(regression, out=tmp_path / "run", **GIVEN, resume=True)
    assert same_states(resumed.final_state, grown.final_state)
    assert same_states(resumed.best_state, grown.best_state)
    assert sizes_of(resumed) == sizes_of(grown)
    assert resumed.record.result.cost == grown.record.result.cost


def _killing(at):
    from thetadot.training.forward import loss_of

    count = [0]

    def killed(*args):
        count[0] += 1
        if count[0] > at:
            raise Killed
        return loss_of(*args)

    return killed


def test_the_preference_is_remembered_and_repeated(grown):
    assert grown.record.header.asked["prefer"] == "wall"
    assert "prefer" in command(grown.record)


@pytest.mark.parametrize(
    ("given", "said"), [({"prefer": "speed"}, "samples, wall|'samples'|wall"), ({"batch_size": 8}, "batch_size=8")]
)
def test_a_preference_that_is_none_or_contradicts_is_refused_before_a_folder_is_made(tmp_path, given, said):
    with pytest.raises(InadmissibleValue, match=said):
        thetadot.run(regression, out=tmp_path / "run", **GIVEN | given)
    assert not (tmp_path / "run").exists()
