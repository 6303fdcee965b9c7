"""A task of a second: three Gaussian blobs."""

import torch
from torch import nn
from torch.utils.data import TensorDataset

from thetadot import Task


def blobs(samples: int = 1600, width: int = 8, **changes) -> Task:
    """Three Gaussian blobs, a small net with batch norm and dropout."""
    generator = torch.Generator().manual_seed(0)
    target = torch.arange(samples) % 3
    x = torch.randn(samples, 4, generator=generator) + 2.0 * nn.functional.one_hot(target, 4)
    cut = max(1, samples * 3 // 4)
    model = nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.1), nn.Linear(width, 3))
    parts = {
        "model": model,
        "loss": nn.functional.cross_entropy,
        "train": TensorDataset(x[:cut], target[:cut]),
        "valid": TensorDataset(x[cut:], target[cut:]),
    }
    return Task(**(parts | changes))
