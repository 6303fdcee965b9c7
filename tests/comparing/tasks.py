"""Small tasks, in files of their own where workers look for them."""

import os
import signal
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import TensorDataset

import thetadot

G = torch.Generator().manual_seed(0)
X = torch.randn(96, 3, generator=G)
Y = X @ torch.tensor([[1.0], [-2.0], [0.5]]) + 0.1 * torch.randn(96, 1, generator=G)


def line(**changes):
    """Least squares: convex, a few milliseconds a run."""
    parts = {
        "model": nn.Linear(3, 1),
        "loss": nn.functional.mse_loss,
        "train": TensorDataset(X[:64], Y[:64]),
        "valid": TensorDataset(X[64:80], Y[64:80]),
    }
    return thetadot.Task(**(parts | changes))


def tested():
    """With a third split."""
    return line(test=TensorDataset(X[80:], Y[80:]))


def net():
    """A network with dropout, which draws from the global generator."""
    return line(model=nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(0.1), nn.Linear(8, 1)))


def slow():
    """Takes about half a second a run of ten epochs."""
    return line(model=Slow())


class Slow(nn.Module):
    """A line that takes its time."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(3, 1)

    def forward(self, x):
        time.sleep(0.01)
        return self.body(x)


def deadly():
    """Kills the process that first makes it in a worker, once: the file beside says that it has happened."""
    marker = Path(os.environ["THETADOT_TEST_MARKER"])
    if os.getpid() != int(os.environ["THETADOT_TEST_DRIVER"]) and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return line()


def always_deadly():
    """Kills every worker that makes it."""
    if os.getpid() != int(os.environ["THETADOT_TEST_DRIVER"]):
        os.kill(os.getpid(), signal.SIGKILL)
    return line()


class Sign(torch.optim.Optimizer):
    """An optimizer of one's own."""

    def __init__(self, params, lr=0.01):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(group["lr"] * p.grad.sign())


class TwoGradients(Sign):
    """One that asks for two gradients a step, and says so only when it is called without a closure."""

    def step(self, closure=None):
        assert closure is not None, "needs a closure"
        closure()
        super().step()
        closure()
        super().step()


def normed():
    """With running statistics, which belong to one set of parameters."""
    body = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Dropout(0.1), nn.Linear(4, 1))
    return line(model=body, test=TensorDataset(X[80:], Y[80:]))


class TwoSets(Sign):
    """One with two sets of parameters: those to be judged are 0, told apart by a mode, as schedule-free methods do."""

    def __init__(self, params, lr=0.01):
        super().__init__(params, lr)
        self.kept = None

    def train(self):
        if self.kept is not None:
            for p, value in zip(self.param_groups[0]["params"], self.kept, strict=True):
                p.data.copy_(value)
        self.kept = None

    def eval(self):
        assert self.kept is None
        self.kept = [p.detach().clone() for p in self.param_groups[0]["params"]]
        for p in self.param_groups[0]["params"]:
            p.data.zero_()

    def step(self, closure=None):
        assert self.kept is None, "not in train mode"
        super().step()


if __name__ == "__main__":
    sys.exit("not a script")
