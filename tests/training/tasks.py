"""Tasks that are wrong in one way each, and one that is right."""

import torch
from torch import nn
from torch.utils.data import TensorDataset

import thetadot

X = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()


def net():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def task(**changes):
    parts = {
        "model": net(),
        "loss": nn.functional.cross_entropy,
        "train": TensorDataset(X, Y),
        "valid": TensorDataset(X, Y),
    }
    return thetadot.Task(**(parts | changes))


def right():
    return task()


def loss_not_scalar():
    return task(loss=nn.CrossEntropyLoss(reduction="none"))


def loss_not_tensor():
    return task(loss=lambda output, target: 1.0)


def nan_in_data():
    x = X.clone()
    x[17, 2] = float("nan")
    return task(train=TensorDataset(x, Y))


def nan_in_validation():
    x = X.clone()
    x[3, 0] = float("nan")
    return task(valid=TensorDataset(x, Y))


class NanLater(nn.Module):
    """Fine at first, and not finite after some passes; its class counts them, so that nothing puts the count back."""

    calls = 0

    def __init__(self):
        super().__init__()
        self.body = net()
        NanLater.calls = 0

    def forward(self, x):
        NanLater.calls += 1
        return self.body(x) * (float("nan") if self.training and NanLater.calls > 40 else 1.0)


def nan_at_a_step():
    return task(model=NanLater())


def empty():
    return task(train=TensorDataset(X[:0], Y[:0]))


def returns_something_else():
    return {"model": net()}


def no_parameters():
    return task(model=nn.Flatten())


def raises():
    return {}["missing"]


class Raises(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x):
        raise ValueError("wrong shape somewhere")


def model_raises():
    return task(model=Raises())


def samples_of_one():
    return task(train=TensorDataset(X))


def loss_is_a_sum():
    return task(loss=nn.CrossEntropyLoss(reduction="sum"))


def broadcasts():
    data = TensorDataset(X, X[:, 0])
    return task(model=nn.Linear(4, 1), loss=nn.functional.mse_loss, train=data, valid=data)


def arrays():
    return task(train=(X, Y))


def needs_an_argument(size):
    return task()


class AtChance(nn.Module):
    def __init__(self):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(2))

    def forward(self, x):
        return self.bias.expand(len(x), 2)
