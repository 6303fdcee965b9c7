"""The main job in Python: a task of one's own, nothing given, and what was chosen."""

import tempfile
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import TensorDataset

import thetadot


def spirals() -> thetadot.Task:
    """Two spirals, to be told apart."""
    angle = 3 * torch.pi * torch.rand(1200, generator=torch.Generator().manual_seed(0)).sqrt()
    side = torch.arange(1200) % 2
    sign = 2.0 * side - 1.0
    x = torch.stack((sign * angle * angle.cos(), sign * angle * angle.sin()), dim=1) / 5
    model = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    data = [TensorDataset(x[part], side[part]) for part in (slice(0, 1000), slice(1000, 1200))]
    return thetadot.Task(model, nn.functional.cross_entropy, *data)


with tempfile.TemporaryDirectory() as folder:
    out = Path(folder) / "run"
    result = thetadot.run(spirals, out=out, epochs=30, name="spirals")
    closing = result.record.result
    print(f"{closing.optimizer}, lr {closing.lr:.3g}, batch size {closing.batch_size}: accuracy {closing.metric:.3f}")
    again = thetadot.load(out, spirals)
    assert all(torch.equal(again.final_state[name], value) for name, value in result.final_state.items())
