"""Small tasks of all kinds for ``pilot.py``, as plain torch: 60% to train on, 20% validation, 20% test.

``make(name)`` builds one; torch's global seed makes its first parameters. ``TASKS`` says for how many epochs it is
trained, the batch of its grid, its kind, and to which half it belongs. A task needs torch and scikit-learn's data only.
"""

from __future__ import annotations

import functools
import itertools
import math
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from sklearn import datasets
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset, TensorDataset

import thetadot

if TYPE_CHECKING:
    from collections.abc import Callable


class Setting(NamedTuple):
    """How a task is trained.

    Attributes:
        epochs: passes over the training data.
        batch: of its grid.
        kind: at most two tasks are of one kind.
        chooses: whether mechanisms and constants may be chosen by it; else it is only reported.
        spike: whether it is one of the fourteen by which the mechanism was found.
    """

    epochs: int
    batch: int
    kind: str
    chooses: bool
    spike: bool = True


TASKS = {
    "digits-mlp": Setting(20, 32, "image classes", chooses=True),
    "digits-cnn": Setting(12, 32, "convolution", chooses=False),
    "digits-bn": Setting(12, 32, "batch statistics", chooses=True, spike=False),
    "autoencoder": Setting(20, 32, "reconstruction", chooses=False),
    "wine": Setting(40, 16, "tiny table", chooses=True),
    "iris": Setting(60, 16, "tiny table", chooses=False),
    "mf-a": Setting(25, 64, "factorisation", chooses=True),
    "mf-b": Setting(15, 64, "factorisation", chooses=False),
    "mf-c": Setting(25, 32, "factorisation", chooses=False),
    "deep-linear": Setting(50, 32, "deep linear", chooses=True),
    "reg-target": Setting(40, 32, "raw scales", chooses=False),
    "reg-feature": Setting(40, 32, "raw scales", chooses=True),
    "spiral": Setting(40, 16, "two classes", chooses=False),
    "noisy": Setting(30, 32, "noisy labels", chooses=True),
    "chars-mlp": Setting(7, 64, "text", chooses=True),
    "gru": Setting(8, 16, "recurrent", chooses=False, spike=False),
    "attention": Setting(8, 16, "transformer", chooses=True, spike=False),
    "loss-1e3": Setting(20, 32, "scaled loss", chooses=True, spike=False),
    "loss-1e-3": Setting(20, 32, "scaled loss", chooses=False, spike=False),
    "derivative": Setting(60, 16, "derivatives in the loss", chooses=False, spike=False),
    "residual": Setting(12, 32, "residual", chooses=False, spike=False),
    "ratings": Setting(10, 64, "embeddings, dict batches", chooses=True, spike=False),
    "counts": Setting(30, 32, "counts", chooses=False, spike=False),
}
"""The last four were seen by nobody when the mechanism was found."""


class Inputs(Dataset):
    """Samples whose inputs are dicts of tensors."""

    def __init__(self, inputs: dict[str, Tensor], target: Tensor) -> None:
        self.inputs, self.target = inputs, target

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, i: int) -> tuple[dict[str, Tensor], Tensor]:
        return {name: value[i] for name, value in self.inputs.items()}, self.target[i]


def parts(x: Tensor | dict[str, Tensor], y: Tensor) -> dict[str, Dataset]:
    """Training, validation and test data."""
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(99))
    a, b = int(0.6 * len(y)), int(0.8 * len(y))
    cut = {"train": order[:a], "valid": order[a:b], "test": order[b:]}
    if isinstance(x, dict):
        return {name: Inputs({k: v[i] for k, v in x.items()}, y[i]) for name, i in cut.items()}
    return {name: TensorDataset(x[i], y[i]) for name, i in cut.items()}


def gen(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def standard(x: Tensor) -> Tensor:
    return (x - x.mean(0)) / x.std(0).clamp_min(1e-6)


def mlp(*sizes: int, act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i, o in itertools.pairwise(sizes):
        layers += [nn.Linear(i, o), act()]
    return nn.Sequential(*layers[:-1])


def digits() -> tuple[Tensor, Tensor]:
    found = datasets.load_digits()
    return torch.tensor(found.data).float() / 16, torch.tensor(found.target)


def cnn(*, norm: bool) -> nn.Sequential:
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 8, 3),
        *([nn.BatchNorm2d(8)] if norm else []),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(288, 24),
        *([nn.BatchNorm1d(24)] if norm else []),
        nn.ReLU(),
        nn.Linear(24, 10),
    )


class Factors(nn.Module):
    """A matrix as a product of two, from a start near the saddle at 0."""

    def __init__(self, rows: int, columns: int, rank: int, std: float) -> None:
        super().__init__()
        self.rows, self.columns = (nn.Parameter(std * torch.randn(n, rank)) for n in (rows, columns))

    def forward(self, x: Tensor) -> Tensor:
        return (self.rows[x[:, 0]] * self.columns[x[:, 1]]).sum(-1)


def matrix(n: int, k: int, true: int, seen: float) -> tuple[Tensor, Tensor]:
    g = gen(n + k)
    whole = torch.randn(n, true, generator=g) @ torch.randn(k, true, generator=g).T / true**0.5
    ij = torch.nonzero(torch.rand(n, k, generator=g) < seen)
    return ij, whole[ij[:, 0], ij[:, 1]] + 0.1 * torch.randn(len(ij), generator=g)


class DeepLinear(nn.Module):
    """A product of five matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ParameterList([0.6 * torch.randn(10, 10) / 10**0.5 for _ in range(5)])

    def forward(self, h: Tensor) -> Tensor:
        for layer in self.layers:
            h = h @ layer
        return h


def friedman(n: int, seed: int) -> tuple[Tensor, Tensor]:
    g = gen(seed)
    x = torch.rand(n, 8, generator=g)
    y = 10 * torch.sin(math.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    return x, (y + torch.randn(n, generator=g))[:, None]


def text(limit: int) -> tuple[int, Tensor]:
    """Characters of the standard library's json package."""
    folder = Path(sysconfig.get_paths()["stdlib"]) / "json"
    whole = "".join(path.read_text() for path in sorted(folder.glob("*.py")))[:limit]
    letters, found = torch.unique(torch.tensor(list(whole.encode("ascii", "ignore").lower())), return_inverse=True)
    return len(letters), found


class Words(nn.Module):
    """A vocabulary of letters, a body, a head; outputs (batch, letters, place)."""

    def __init__(self, letters: int, body: nn.Module, width: int) -> None:
        super().__init__()
        self.letters, self.body, self.head = nn.Embedding(letters, width), body, nn.Linear(16, letters)

    def forward(self, x: Tensor) -> Tensor:
        h = self.body(self.letters(x))
        return self.head(h[0] if isinstance(h, tuple) else h).transpose(1, 2)


class Block(nn.Module):
    """A causal transformer block of width 16 over 12 places."""

    def __init__(self) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.zeros(12, 16))
        self.norms = nn.ModuleList([nn.LayerNorm(16) for _ in range(3)])
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.rest = mlp(16, 48, 16)
        self.register_buffer("mask", torch.ones(12, 12, dtype=torch.bool).triu(1))

    def forward(self, h: Tensor) -> Tensor:
        h = h + self.places
        n = self.norms[0](h)
        h = h + self.attention(n, n, n, attn_mask=self.mask, need_weights=False)[0]
        return self.norms[2](h + self.rest(self.norms[1](h)))


def lines() -> tuple[int, Tensor, Tensor]:
    letters, t = text(24_000)
    n = (len(t) - 1) // 12
    return letters, t[: n * 12].view(n, 12), t[1 : n * 12 + 1].view(n, 12)


class Equation(nn.Module):
    """A net u(x); forward gives u'' + u, which the loss compares with a source, and u at the ends."""

    def __init__(self) -> None:
        super().__init__()
        self.u = mlp(1, 24, 24, 1, act=nn.Tanh)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        wanted = torch.is_grad_enabled()
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            u = self.u(x)
            (first,) = torch.autograd.grad(u.sum(), x, create_graph=True)
            (second,) = torch.autograd.grad(first.sum(), x, create_graph=wanted)
            ends = self.u(torch.tensor([[0.0], [1.0]]))
        return second + u, ends


def residual_of_equation(output: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
    inside, ends = output
    return functional.mse_loss(inside, target) + 10.0 * ends.square().mean()


class Residual(nn.Module):
    """Six residual blocks of width 24."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(64, 24), nn.Linear(24, 10)
        self.blocks = nn.ModuleList([mlp(24, 24, 24) for _ in range(6)])

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        for block in self.blocks:
            h = h + block(h)
        return self.last(h)


class Towers(nn.Module):
    """Whether a user likes an item: embeddings of both, and a net over them."""

    def __init__(self) -> None:
        super().__init__()
        self.users, self.items, self.net = nn.Embedding(60, 8), nn.Embedding(40, 8), mlp(16, 24, 1)

    def forward(self, user: Tensor, item: Tensor) -> Tensor:
        return self.net(torch.cat([self.users(user), self.items(item)], -1)).squeeze(-1)


def ratings() -> tuple[dict[str, Tensor], Tensor]:
    g = gen(21)
    user, item = torch.randint(60, (3000,), generator=g), torch.randint(40, (3000,), generator=g)
    taste = torch.randn(60, 4, generator=g) @ torch.randn(4, 40, generator=g)
    like = torch.rand(3000, generator=g) < torch.sigmoid(2.0 * taste[user, item])
    return {"user": user, "item": item}, like.float()


def spiral() -> tuple[Tensor, Tensor]:
    g = gen(8)
    t, y = torch.rand(700, generator=g) * 3 + 0.3, torch.arange(700) % 2
    a = 2 * t + math.pi * y
    x = torch.stack([t * a.cos(), t * a.sin()], 1) + 0.1 * torch.randn(700, 2, generator=g)
    return x / 2, y


def noisy() -> tuple[Tensor, Tensor]:
    g = gen(9)
    centres, y = torch.randn(4, 20, generator=g), torch.randint(4, (1000,), generator=g)
    x = centres[y] + 1.2 * torch.randn(1000, 20, generator=g)
    flip = torch.rand(1000, generator=g) < 0.2
    return x, torch.where(flip, torch.randint(4, (1000,), generator=g), y)


def letters_before() -> tuple[int, Tensor, Tensor]:
    letters, t = text(9000)
    return letters, t.unfold(0, 6, 1)[:-1], t[6:]


def make(name: str) -> thetadot.Task:  # noqa: PLR0911, PLR0912, C901 - a list
    """Build the task of this name."""
    task, entropy, square = thetadot.Task, functional.cross_entropy, functional.mse_loss
    if name in ("digits-mlp", "loss-1e3", "loss-1e-3"):
        unit = {"digits-mlp": 1.0, "loss-1e3": 1e3, "loss-1e-3": 1e-3}[name]
        return task(mlp(64, 32, 10), lambda o, y: unit * entropy(o, y), **parts(*digits()))
    if name in ("digits-cnn", "digits-bn"):
        return task(cnn(norm=name == "digits-bn"), entropy, **parts(*digits()))
    if name == "residual":
        return task(Residual(), entropy, **parts(*digits()))
    if name == "autoencoder":
        x, _ = digits()
        return task(mlp(64, 16, 64, act=nn.Tanh), square, **parts(x, x))
    if name in ("wine", "iris"):
        found = datasets.load_wine() if name == "wine" else datasets.load_iris()
        x, y = torch.tensor(found.data).float(), torch.tensor(found.target)
        net = mlp(13, 16, 3) if name == "wine" else mlp(4, 16, 3, act=nn.Tanh)
        return task(net, entropy, **parts(standard(x) if name == "wine" else x, y))
    if name in ("mf-a", "mf-b", "mf-c"):
        sizes = {"mf-a": (100, 80, 3, 0.3), "mf-b": (150, 100, 4, 0.35), "mf-c": (80, 60, 2, 0.5)}[name]
        start = {"mf-a": (4, 0.1), "mf-b": (6, 0.3), "mf-c": (8, 0.03)}[name]
        return task(Factors(*sizes[:2], *start), square, **parts(*matrix(*sizes)))
    if name == "deep-linear":
        g = gen(3)
        x = torch.randn(700, 10, generator=g)
        y = x @ (torch.randn(10, 4, generator=g) @ torch.randn(4, 10, generator=g) / 4)
        return task(DeepLinear(), square, **parts(x, y + 0.1 * torch.randn(700, 10, generator=g)))
    if name == "reg-target":
        x, y = friedman(900, 5)
        return task(mlp(8, 24, 1), square, **parts(standard(x), 60 * y))
    if name == "reg-feature":
        x, y = friedman(900, 6)
        return task(mlp(8, 24, 1), square, **parts(x * torch.tensor([0.1, 0.3, 1, 3, 10, 30, 0.3, 3]), y))
    if name == "spiral":
        return task(mlp(2, 32, 32, 2, act=nn.Tanh), entropy, **parts(*spiral()))
    if name == "noisy":
        return task(mlp(20, 48, 4), entropy, **parts(*noisy()))
    if name == "chars-mlp":
        letters, x, y = letters_before()
        return task(nn.Sequential(nn.Embedding(letters, 8), nn.Flatten(), mlp(48, 40, letters)), entropy, **parts(x, y))
    if name in ("gru", "attention"):
        letters, x, y = lines()
        body, width = (nn.GRU(8, 16, batch_first=True), 8) if name == "gru" else (Block(), 16)
        return task(Words(letters, body, width), entropy, **parts(x, y))
    if name == "derivative":
        x = torch.rand(500, 1, generator=gen(20))
        return task(Equation(), residual_of_equation, **parts(x, (1 - (2 * math.pi) ** 2) * torch.sin(2 * math.pi * x)))
    if name == "ratings":
        return task(Towers(), functional.binary_cross_entropy_with_logits, **parts(*ratings()))
    if name == "counts":
        g = gen(22)
        x = torch.randn(1000, 6, generator=g)
        y = torch.poisson((0.5 * x[:, :1] + (x[:, 1:2] * x[:, 2:3]).tanh() + 1.0).exp(), generator=g)
        return task(mlp(6, 24, 1), lambda o, y: functional.poisson_nll_loss(o, y, full=True), **parts(x, y))
    raise KeyError(name)


def maker(name: str) -> Callable[[], thetadot.Task]:
    """What makes the task of this name, called as it is, for processes of their own too."""
    made = functools.partial(make, name)
    made.__name__ = name
    return made
