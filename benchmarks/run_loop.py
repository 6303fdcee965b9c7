"""What ``run`` adds to a loop written by hand: processor time at the same settings, and checkpoints counted.

Digits (10 epochs) and a small transformer, one thread, settings given (so that nothing is tried), interleaved:

    python benchmarks/run_loop.py [--repeats 5]

The hand loop does what such a loop does: shuffled batches, the same optimizer with the same schedule, validation after
every epoch, and the best state kept. ``run`` also records, guards, measures curvature and noise, and can be resumed.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import thetadot
from thetadot.training import checkpoint
from thetadot.training.loop import Loop
from thetadot.training.plan import TrainingPlan, put
from thetadot.translation import Settings


class Transformer(nn.Module):
    """Two layers of width 64 that read 32 tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(32, 64), nn.Parameter(torch.zeros(32, 64))
        layer = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(64, 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers(self.tokens(x) + self.places)[:, -1])


def transformer() -> thetadot.Task:
    """The most frequent of 32 tokens."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(32, (3000, 32), generator=generator)
    y = torch.mode(x, dim=1).values
    train, valid = TensorDataset(x[:2500], y[:2500]), TensorDataset(x[2500:], y[2500:])
    return thetadot.Task(Transformer(), nn.functional.cross_entropy, train, valid)


CASES = {
    "digits": (thetadot.tasks.digits, 10, "adam", 2e-3, 64),
    "transformer": (transformer, 4, "adam", 1e-3, 32),
}
GOALS = {"digits": 1.10, "transformer": 1.05}


def by_hand(make, epochs, family, lr, batch):
    """A plain loop."""
    torch.manual_seed(0)
    task = make()
    plan = TrainingPlan(family, lr, 0.9, batch, batch, "coupled" if family == "heavy-ball" else "linear")
    optimizer = plan.build(task.model.parameters())
    loader = DataLoader(task.train, batch_size=batch, shuffle=True)
    held = DataLoader(task.valid, batch_size=512)
    total, seen, best, kept = epochs * len(task.train), 0, float("inf"), None
    for _ in range(epochs):
        task.model.train()
        for x, y in loader:
            seen += len(y)
            settings = plan.at(seen / total)
            put(optimizer, Settings(settings.lr, settings.momentum))
            optimizer.zero_grad(set_to_none=True)
            loss = task.loss(task.model(x), y)
            loss.item()
            loss.backward()
            optimizer.step()
        task.model.eval()
        with torch.no_grad():
            value = sum(float(task.loss(task.model(x), y)) * len(y) for x, y in held) / len(task.valid)
        if value < best:
            best, kept = value, copy.deepcopy(task.model.state_dict())
    return kept


def by_run(make, epochs, family, lr, batch, folder):
    """The same by ``run``."""
    return thetadot.run(make, out=folder, epochs=epochs, optimizer=family, lr=lr, momentum=0.9, batch_size=batch)


def spent(work, *given: object):
    began = time.process_time()
    work(*given)
    return time.process_time() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--case", choices=CASES, help="one of them alone")
    options = parser.parse_args()
    torch.set_num_threads(1)
    saves, save, inside, loop = [], checkpoint.save, [], Loop.run
    checkpoint.save = lambda *given, **how: (saves.append(how), save(*given, **how))
    Loop.run = lambda self: inside.append(spent(loop, self))
    for name, settings in CASES.items():
        if options.case not in (None, name):
            continue
        ratios, whole, loops = [], [], []
        with tempfile.TemporaryDirectory() as place:
            for k in range(options.repeats + 1):  # the first compiles the kernels
                hand = spent(by_hand, *settings)
                saves.clear()
                ours = spent(by_run, *settings, Path(place) / f"{name}{k}")
                if k:
                    ratios.append(inside[-1] / hand)
                    whole.append(ours / hand)
                    loops.append(hand)
        print(
            f"{name:12s} loop of run / loop by hand {statistics.median(ratios):.3f} (goal {GOALS[name]:.2f}; "
            f"{min(ratios):.3f} to {max(ratios):.3f}); by hand {statistics.median(loops):.2f} s; "
            f"{len(saves)} checkpoints; with the first measurements and the page {statistics.median(whole):.2f}"
        )


if __name__ == "__main__":
    main()
