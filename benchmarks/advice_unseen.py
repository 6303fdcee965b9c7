"""Twelve further tasks of the same eight kinds, for advice.py: they are only reported.

They were written, and committed, before a verdict on any of them was looked at; until then all tasks of advice_tasks.py
set thresholds. Other data, sizes, widths and losses; some loops have a OneCycle schedule, call a function for the loss
and tell it, or accumulate gradients over two passes.
"""

from __future__ import annotations

import email
from pathlib import Path

import torch
from advice_tasks import (
    CE,
    MSE,
    RELU,
    Attentive,
    Data,
    Factors,
    Recurrent,
    Task,
    dense,
    made,
    ratings,
    standard,
    text,
    tidy,
)
from sklearn.datasets import load_breast_cancer, load_digits
from torch import nn


def clusters(count: int, width: int, classes: int, seed: int, wrong: float = 0.0) -> Data:
    """Classes that are two overlapping clouds each; of some the label is drawn at random."""
    g = made(seed)
    centres = 1.5 * torch.randn(2 * classes, width, generator=g)
    which = torch.randint(2 * classes, (count,), generator=g)
    x, y = centres[which] + 1.2 * torch.randn(count, width, generator=g), which % classes
    lost = torch.rand(count, generator=g) < wrong
    return x, torch.where(lost, torch.randint(classes, (count,), generator=g), y)


def surface() -> Data:
    """A sum of sines of 5 inputs under a little noise with wide tails, standardised."""
    x = 2 * torch.rand(800, 5, generator=made(21)) - 1
    y = torch.sin(3 * x[:, 0]) + x[:, 1] * x[:, 2] + torch.cos(4 * x[:, 3]) * x[:, 4]
    tails = torch.randn(800, generator=made(22)) / torch.rand(800, generator=made(23)).clamp_min(0.05)
    return x, standard((y + 0.05 * tails)[:, None])


def shapes() -> Data:
    """Images of 12x12 under noise: a square, a cross, a line, a ring."""
    g, side = made(24), torch.arange(12)
    y = torch.randint(4, (700,), generator=g)
    places = torch.randint(4, 8, (700, 2), generator=g)
    image = torch.zeros(700, 12, 12)
    for i, (kind, (a, b)) in enumerate(zip(y.tolist(), places.tolist(), strict=True)):
        rows, columns = (side - a).abs()[:, None], (side - b).abs()[None]
        far = torch.maximum(rows, columns)
        lit = (far <= 2, (rows == 0) | (columns == 0), rows + 0 * columns == 0, far == 3)[kind]
        image[i] = (lit & (far <= 3)).float()
    return image[:, None] + 0.6 * torch.randn(image[:, None].shape, generator=g), y


def parity() -> Data:
    """Images of digits, and whether they are odd."""
    found = load_digits()
    x, y = torch.tensor(found.data[-800:], dtype=torch.float32) / 16, torch.tensor(found.target[-800:])
    return x, (y % 2).float()[:, None]


def waves() -> Data:
    """Sums of two waves at 20 moments, of 2 numbers each: the value and the time; the target is the next value."""
    g, time = made(25), torch.arange(21) / 4
    speeds, phases = 1 + torch.rand(640, 2, 1, generator=g), 6.283 * torch.rand(640, 2, 1, generator=g)
    values = torch.sin(speeds * time + phases).sum(1) + 0.1 * torch.randn(640, 21, generator=g)
    return torch.stack([values[:, :-1], time[:-1].expand(640, -1)], 2), values[:, -1:]


def letters(count: int, length: int) -> Data:
    """Source text of Python's own email package, and the next characters."""
    return text(sorted(Path(email.__file__).parent.glob("*.py")), count, length)


def largest() -> Data:
    """Sequences of 12 tokens of 8; the class is the largest one."""
    x = torch.minimum(*torch.randint(8, (2, 900, 12), generator=made(26)))
    return x, x.amax(1)


def houses() -> Data:
    """A table of rooms, area, year, distance and taxes, each in its own unit; prices are standardised."""
    g = made(28)
    z = torch.randn(700, 6, generator=g)
    x = z * torch.tensor([1.0, 400.0, 20.0, 3000.0, 0.1, 50_000.0])
    x = x + torch.tensor([5.0, 1500.0, 1980.0, 9000.0, 0.3, 200_000.0])
    y = z[:, 0] + z[:, 1] * (z[:, 2] > 0) - 0.5 * z[:, 3].abs() + 0.3 * z[:, 4] * z[:, 5]
    return x, standard((y + 0.3 * torch.randn(700, generator=g))[:, None])


def small_images() -> nn.Module:
    """Three convolutions with batch normalisation."""
    first = [nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.MaxPool2d(2)]
    second = [nn.Conv2d(12, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*first, *second, nn.Conv2d(12, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(),
                         nn.Linear(16, 4))  # fmt: skip


def odd() -> nn.Module:
    """Two convolutions with batch normalisation and stride, one output."""
    first = [nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 10, 3, stride=2), nn.BatchNorm2d(10), nn.GELU()]
    return nn.Sequential(*first, nn.Conv2d(10, 20, 2), nn.BatchNorm2d(20), nn.GELU(), nn.Flatten(), nn.Linear(80, 1))


def _task(name, kind, data, model, loss, batch, epochs, sgd, adamw, **more):  # type: ignore[no-untyped-def]  # noqa: ANN003
    return Task(name, kind, "reported", data, model, loss, batch, epochs, {"SGD": sgd, "AdamW": adamw}, **more)


SMOOTHED, BCE, ROBUST = nn.CrossEntropyLoss(label_smoothing=0.1), nn.BCEWithLogitsLoss(), nn.SmoothL1Loss()
UNSEEN = (
    _task("clouds", "perceptron", lambda: clusters(1000, 12, 5, 30), lambda: dense(12, 48, 48, 5, act=nn.GELU), CE, 32,
          14, 0.03, 0.003, function=True),
    _task("surface", "perceptron", surface, lambda: dense(5, 64, 64, 1, act=nn.SiLU), ROBUST, 16, 10, 0.3, 0.1,
          schedule="onecycle"),
    _task("shapes", "CNN with BatchNorm", shapes, small_images, SMOOTHED, 24, 10, 0.03, 0.03),
    _task("parity", "CNN with BatchNorm", parity, odd, BCE, 32, 12, 0.1, 0.01, accumulate=2),
    _task("waves to come", "GRU, dict batches", waves, lambda: Recurrent(0, 20), MSE, 16, 12, 0.03, 0.01, named=True,
          schedule="onecycle"),
    _task("letters", "GRU, dict batches", lambda: letters(400, 16), lambda: Recurrent(96, 48), CE, 16, 12, 1, 0.03,
          named=True),
    _task("mail", "transformer", lambda: letters(500, 24), lambda: Attentive(96, 24), CE, 16, 10, 0.3, 0.01,
          accumulate=2),
    _task("largest", "transformer", largest, lambda: Attentive(8, 12, 8), CE, 24, 12, 0.03, 0.003, schedule="onecycle",
          function=True),
    _task("stars", "factorisation", lambda: ratings(50, 70, 3, 0.05), lambda: Factors(50, 70, 3, 0.3), MSE, 64, 25, 0.3,
          0.1),
    _task("houses", "raw-scaled table", houses, lambda: dense(6, 32, 1), MSE, 24, 20, 0.03, 0.01, raw=True),
    _task("clouds, mislabelled", "noisy labels", lambda: clusters(1000, 10, 4, 31, 0.3),
          lambda: dense(10, 40, 4, act=RELU), CE, 32, 14, 0.03, 0.01, function=True),
    _task("tumours", "tiny data", lambda: tidy(load_breast_cancer, 70), lambda: dense(30, 12, 2), CE, 8, 40, 0.1, 0.01),
)  # fmt: skip
