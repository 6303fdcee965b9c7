"""The record of a run and that of a watch around the same loop agree, entry by entry, in every kind that both write."""

from dataclasses import replace

import pytest
import torch
from msgspec.structs import asdict
from torch import nn
from torch.utils.data import TensorDataset

import thetadot
from thetadot import Task
from thetadot.monitor.cadence import PLANS
from thetadot.records import (
    Curvature,
    Draws,
    Equilibrium,
    Layers,
    Motion,
    Noise,
    Regularization,
    Setting,
)
from thetadot.training.loop import Loop

BOTH = (Motion, Layers, Curvature, Noise, Equilibrium, Regularization, Setting, Draws)
TOLD_APART = ("cost",)  # a run counts validation too


def task():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2176, 6, generator=generator)
    y = (x[:, :3].sum(1) > 0).long()
    model = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Dropout(0.1), nn.Linear(16, 2))
    return Task(model, nn.CrossEntropyLoss(), TensorDataset(x[:2048], y[:2048]), TensorDataset(x[2048:], y[2048:]))


@pytest.mark.parametrize(("optimizer", "momentum"), [("heavy-ball", 0.8), ("adam", 0.9)])
def test_a_run_and_a_watch_around_its_loop_record_the_same(monkeypatch, tmp_path, optimizer, momentum):
    watched, whole = [], Loop.run

    def run(loop):
        monitor = loop.monitor
        monkeypatch.setitem(PLANS, "default", replace(monitor.plan))
        held = monitor.reference.held
        with thetadot.watch(
            loop.task.model,
            loop.optimizer,
            loss_fn=loop.task.loss,
            reference=held,
            batch_dim=0,
            dataset_size=2048,
            sampling="epochs",
        ) as probe:
            probe.monitor.readings.planned = monitor.readings.planned  # a watch is not told how long the run will be
            probe.monitor.readings.prepared = True  # and finds out for itself what is known of a task
            probe.reference.narrow, probe.reference.sharing = monitor.reference.narrow, monitor.reference.sharing
            probe.monitor.ends_at(8 * 2048 // 16)
            whole(loop)
        watched.append(probe.record)

    monkeypatch.setattr(Loop, "run", run)
    own = thetadot.run(
        task, out=tmp_path / "a", epochs=8, optimizer=optimizer, lr=0.02, momentum=momentum, batch_size=16
    ).record
    (other,) = watched
    for kind in BOTH:
        mine = [entry for entry in own.of(kind) if getattr(entry, "when", "training") == "training"]
        assert mine, kind
        assert [kept(entry) for entry in mine] == [kept(entry) for entry in other.of(kind)], kind
    assert own.layers == other.layers


def kept(entry):
    return {name: value for name, value in asdict(entry).items() if name not in TOLD_APART}
