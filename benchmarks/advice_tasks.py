"""Sixteen small tasks of eight kinds, for advice.py: data from packages or made, every step about a millisecond.

Two of each kind. Thresholds may be set on all of them: the second of each kind was kept aside until it had been seen.
Those that are only reported now are in advice_unseen.py.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

Data = tuple[Tensor, Tensor]
HELD_BACK = 0.2


@dataclass(frozen=True)
class Task:
    """A task, and the learning rates of SGD with momentum .9 and of AdamW that a sweep found best on seeds 10 and 11.

    Attributes:
        data: inputs and targets.
        model: makes one; the random state is seeded before.
        lrs: by optimizer.
        named: whether batches are dicts, and the model returns its loss.
        raw: whether the inputs come in units of very different sizes, standardised only where a setting says so.
        function: whether the loop calls a function for its loss, which no hook sees, and tells it.
        schedule: of the lr, whose largest is what a setting says.
        accumulate: passes a step, on equal parts of its batch.
    """

    name: str
    kind: str
    half: Literal["chooses", "reported"]
    data: Callable[[], Data]
    model: Callable[[], nn.Module]
    loss: nn.Module
    batch: int
    epochs: int
    lrs: dict[str, float]
    named: bool = False
    raw: bool = False
    function: bool = False
    schedule: Literal["constant", "onecycle"] = "constant"
    accumulate: int = 1


def made(seed: int) -> torch.Generator:
    """A generator of its own for data that are made."""
    return torch.Generator().manual_seed(seed)


def standard(x: Tensor) -> Tensor:
    """Every column with mean 0 and variance 1."""
    return (x - x.mean(0)) / x.std(0).clamp_min(1e-6)


# Data.


def digits(count: int = 1250, wrong: float = 0.0) -> Data:
    """Images of 8x8; of some the label is drawn at random."""
    found = load_digits()
    x, y = torch.tensor(found.data[:count], dtype=torch.float32) / 16, torch.tensor(found.target[:count])
    lost = torch.rand(count, generator=made(3)) < wrong
    return x, torch.where(lost, torch.randint(10, (count,), generator=made(4)), y)


def table(load: Callable[..., object], count: int | None = None, **options: object) -> Data:
    """A table of scikit-learn, its inputs in their own units; targets that are numbers are standardised."""
    found = load(**options)
    x, y = torch.tensor(found.data, dtype=torch.float32), torch.tensor(found.target)  # type: ignore[attr-defined]
    order = torch.randperm(len(x), generator=made(5))[:count]
    x, y = x[order], y[order]
    return (x, standard(y.float()[:, None])) if y.is_floating_point() else (x, y)


def tidy(load: Callable[..., object], count: int) -> Data:
    """The same, its inputs standardised."""
    x, y = table(load, count)
    return standard(x), y


def friedman() -> Data:
    """Friedman's first function of 8 uniform inputs, noise 1, standardised."""
    x = torch.rand(1250, 8, generator=made(6))
    y = 10 * torch.sin(math.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    return 2 * x - 1, standard((y + torch.randn(1250, generator=made(7)))[:, None])


def signals() -> Data:
    """Noisy waves of 32 points; the class is the frequency."""
    y = torch.randint(4, (750,), generator=made(8))
    phase = 6.283 * torch.rand(750, 1, generator=made(9))
    wave = torch.sin(phase + (1 + 0.6 * y[:, None]) * torch.arange(32) * 0.3)
    return wave[:, None] + 0.7 * torch.randn(750, 1, 32, generator=made(10)), y


def characters(count: int, length: int) -> Data:
    """Source text of Python's own json package, and the next characters."""
    return text(sorted(Path(json.__file__).parent.glob("*.py")), count, length)


def text(parts: list[Path], count: int, length: int) -> Data:
    """Pieces of some files in small letters, and the next characters."""
    whole = "".join(part.read_text(encoding="utf-8") for part in parts).lower()
    codes = torch.tensor([ord(c) - 32 if 32 <= ord(c) < 127 else 95 for c in whole])
    pieces = codes[: len(codes) // (length + 1) * (length + 1)].view(-1, length + 1)
    pieces = pieces[torch.randperm(len(pieces), generator=made(11))][:count]
    return pieces[:, :-1].contiguous(), pieces[:, 1:].contiguous()


def adding() -> Data:
    """Sequences of 16 numbers, some of them marked; the target is the sum of the marked ones, standardised."""
    values = torch.randn(750, 16, generator=made(12))
    marks = (torch.rand(750, 16, generator=made(13)) < 0.25).float()
    return torch.stack([values, marks], 2), standard((values * marks).sum(1, keepdim=True))


def majority() -> Data:
    """Sequences of 16 tokens of 6; the class is the commonest one."""
    x = torch.randint(6, (1000, 16), generator=made(14))
    counts = nn.functional.one_hot(x, 6).sum(1) + 0.1 * torch.rand(1000, 6, generator=made(15))
    return x, counts.argmax(1)


def ratings(rows: int, columns: int, rank: int, noise: float) -> Data:
    """A third of the entries of a matrix of low rank, with noise."""
    g = made(rows + columns)
    whole = torch.randn(rows, rank, generator=g) @ torch.randn(rank, columns, generator=g) / rank**0.5
    places = torch.nonzero(torch.rand(rows, columns, generator=g) < 0.35)
    places = places[torch.randperm(len(places), generator=g)]
    y = whole[places[:, 0], places[:, 1]][:, None]
    return places, y + noise * torch.randn(y.shape, generator=g)


def noisy() -> Data:
    """A linear law of 20 inputs of variances 1 to .03, under noise of twice its size."""
    x = torch.randn(1500, 20, generator=made(16)) * torch.logspace(0, -1.5, 20).sqrt()
    y = x @ torch.randn(20, 1, generator=made(17))
    return x, y / y.std() + 2 * torch.randn(y.shape, generator=made(18))


# Models.


def dense(*widths: int, act: Callable[[], nn.Module] = nn.Tanh) -> nn.Module:
    """A perceptron."""
    parts: list[nn.Module] = []
    for before, after in pairwise(widths):
        parts += [nn.Linear(before, after), act()]
    return nn.Sequential(*parts[:-1])


def images() -> nn.Module:
    """Two convolutions with batch normalisation."""
    first = [nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*first, nn.Conv2d(8, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(64, 10))


def waves() -> nn.Module:
    """Two convolutions in one dimension with batch normalisation."""
    first = [nn.Conv1d(1, 8, 5, stride=2), nn.BatchNorm1d(8), nn.ReLU()]
    return nn.Sequential(
        *first, nn.Conv1d(8, 16, 5, stride=2), nn.BatchNorm1d(16), nn.ReLU(), nn.Flatten(), nn.Linear(80, 4)
    )


class Recurrent(nn.Module):
    """A GRU whose batches are dicts, and that returns its own loss, as models of transformers do."""

    def __init__(self, words: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, 16) if words else nn.Linear(2, 16)
        self.gru = nn.GRU(16, width, batch_first=True)
        self.head = nn.Linear(width, words or 1)
        self.criterion = nn.CrossEntropyLoss() if words else nn.MSELoss()

    def forward(self, inputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Loss and logits."""
        hidden = self.gru(self.embedding(inputs))[0]
        if isinstance(self.criterion, nn.CrossEntropyLoss):
            logits = self.head(hidden)
            return {"loss": self.criterion(logits.flatten(0, 1), labels.flatten()), "logits": logits}
        logits = self.head(hidden[:, -1])
        return {"loss": self.criterion(logits, labels), "logits": logits}


class Attentive(nn.Module):
    """One block of a transformer: of characters to come, or of a class."""

    def __init__(self, words: int, length: int, classes: int = 0) -> None:
        super().__init__()
        self.embedding, self.place = nn.Embedding(words, 32), nn.Parameter(0.02 * torch.randn(length, 32))
        self.body = nn.TransformerEncoderLayer(32, 2, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.head = nn.Linear(32, classes or words)
        self.pooled = classes > 0
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(length))

    def forward(self, x: Tensor) -> Tensor:
        """Logits, classes on axis 1."""
        hidden = self.embedding(x) + self.place
        hidden = self.body(hidden) if self.pooled else self.body(hidden, src_mask=self.mask, is_causal=True)
        return self.head(hidden.mean(1)) if self.pooled else self.head(hidden).transpose(1, 2)


class Factors(nn.Module):
    """Rows times columns, small at first: near a saddle."""

    def __init__(self, rows: int, columns: int, rank: int, std: float) -> None:
        super().__init__()
        self.rows, self.columns = nn.Embedding(rows, rank), nn.Embedding(columns, rank)
        for one in (self.rows, self.columns):
            nn.init.normal_(one.weight, std=std)

    def forward(self, x: Tensor) -> Tensor:
        """One number a place."""
        return (self.rows(x[:, 0]) * self.columns(x[:, 1])).sum(1, keepdim=True)


CE, MSE = nn.CrossEntropyLoss(), nn.MSELoss()
RELU = nn.ReLU


def _task(name: str, kind: str, half: str, data: Callable[[], Data], model: Callable[[], nn.Module], loss: nn.Module,
          batch: int, epochs: int, sgd: float, adamw: float, **more: bool) -> Task:  # fmt: skip
    return Task(name, kind, half, data, model, loss, batch, epochs, {"SGD": sgd, "AdamW": adamw}, **more)  # type: ignore[arg-type]


A = "chooses"
TASKS = (
    _task("digits", "perceptron", A, digits, lambda: dense(64, 64, 10), CE, 32, 15, 0.1, 0.01),
    _task("friedman", "perceptron", A, friedman, lambda: dense(8, 32, 32, 1, act=RELU), MSE, 32, 15, 0.03, 0.003),
    _task("images", "CNN with BatchNorm", A, lambda: digits(1000), images, CE, 32, 10, 0.1, 0.01),
    _task("waves", "CNN with BatchNorm", A, signals, waves, CE, 32, 12, 0.1, 0.01),
    _task("text", "GRU, dict batches", A, lambda: characters(500, 20), lambda: Recurrent(96, 32), CE, 16, 10, 1, 0.03,
          named=True),
    _task("adding", "GRU, dict batches", A, adding, lambda: Recurrent(0, 24), MSE, 16, 10, 0.1, 0.01, named=True),
    _task("next", "transformer", A, lambda: characters(750, 20), lambda: Attentive(96, 20), CE, 16, 8, 0.3, 0.01),
    _task("majority", "transformer", A, majority, lambda: Attentive(6, 16, 6), CE, 16, 8, 0.01, 0.001),
    _task("ratings", "factorisation", A, lambda: ratings(60, 45, 4, 0.1), lambda: Factors(60, 45, 4, 0.1), MSE, 32, 25,
          0.3, 0.03),
    _task("saddle", "factorisation", A, lambda: ratings(80, 40, 3, 0.3), lambda: Factors(80, 40, 5, 0.03), MSE, 16, 12,
          0.1, 0.01),
    _task("diabetes", "raw-scaled table", A, lambda: table(load_diabetes, scaled=False),
          lambda: dense(10, 32, 1, act=RELU), MSE, 16, 25, 0.01, 0.01, raw=True),
    _task("cells", "raw-scaled table", A, lambda: table(load_breast_cancer), lambda: dense(30, 24, 2, act=RELU), CE, 16,
          15, 0.1, 0.03, raw=True),
    _task("mislabelled", "noisy labels", A, lambda: digits(1250, 0.4), lambda: dense(64, 48, 10, act=RELU), CE, 32, 15,
          0.1, 0.01),
    _task("linear law", "noisy labels", A, noisy, lambda: nn.Linear(20, 1), MSE, 16, 8, 0.001, 0.01),
    _task("iris", "tiny data", A, lambda: tidy(load_iris, 75), lambda: dense(4, 16, 3), CE, 8, 50, 0.1, 0.03),
    _task("wine", "tiny data", A, lambda: tidy(load_wine, 60), lambda: dense(13, 16, 3, act=RELU), CE, 8, 40, 0.03,
          0.1),
)  # fmt: skip
