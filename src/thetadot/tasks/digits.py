"""1,797 real handwritten digits of 8×8 pixels (scikit-learn's copy of the UCI set), a small convolutional network.

A fixed fifth is held back for validation; the same 360 images whatever the seed.

Source:
    Alpaydin, Kaynak, "Optical recognition of handwritten digits", UCI Machine Learning Repository (1998).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import TensorDataset

from thetadot.errors import TaskError
from thetadot.tasks.task import Task


def digits() -> Task:
    """1,797 handwritten digits, a small convolutional network (41,000 parameters), cross-entropy, accuracy."""
    try:
        from sklearn.datasets import load_digits  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise TaskError(
            "the digits task needs scikit-learn. Install it with: pip install 'thetadot[digits]'"
        ) from error
    data = load_digits()
    images = torch.tensor(data.data, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16.0
    labels = torch.tensor(data.target)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    held, used = order[:360], order[360:]
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(512, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )
    return Task(
        model=model,
        loss=nn.functional.cross_entropy,
        train=TensorDataset(images[used], labels[used]),
        valid=TensorDataset(images[held], labels[held]),
    )
