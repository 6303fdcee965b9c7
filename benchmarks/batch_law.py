"""The best learning rate at 64-fold batch sizes beside what each rule says from one run: digits, SGD and AdamW.

    python benchmarks/batch_law.py            about two minutes on one core
    python benchmarks/batch_law.py --target 0.05

A perceptron (64-64-10, tanh) on the 1,437 training digits, batches drawn independently, lr constant. Of each batch size
and lr it is counted how many steps it takes until the loss over all training data, looked at eight times an epoch, is
below the target; the best lr is that of the fewest steps, on a grid of factors √2, as the mean over seeds of its
logarithm, with its standard error. A rule is told the best lr at one batch and the noise scale trΣ/|G|² measured along
that one run, or the critical batch that branches from the middle of that run measure, and nothing else. The critical
batch of the sweep is fitted to the samples E = E_min (1 + B/B_crit) at the best lr.

All members of the grid run at once, as one batched computation; each is a run of its own.
"""

from __future__ import annotations

import argparse
import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from thetadot.dictionary.batch_rules import EVERY, MAREK
from thetadot.dictionary.families import known_family
from thetadot.dictionary.optimizers import settings_of
from thetadot.training import CriticalBatch, critical_batch
from thetadot.translation import convert

if TYPE_CHECKING:
    from thetadot.dictionary.rule import Rule
    from thetadot.dictionary.settings import Settings

BATCHES = (4, 8, 16, 32, 64, 128, 256)
BASE = 16
EPOCHS = 40.0  # at most, and six hundred steps at least
FINEST = {"sgd": (-9.0, 1.5), "adamw": (-13.0, -3.0)}  # log2 of lr
MOMENTUM = {"sgd": 0.9, "adamw": 0.9}


@dataclass
class Grid:
    """Runs side by side: (R, ...) parameters, each with its lr and seed."""

    parameters: list[Tensor]
    lr: Tensor
    memory: list[tuple[Tensor, Tensor]]
    steps: int = 0


def start(lrs: list[float], seeds: int) -> Grid:
    """Members by seed and lr; those of one seed begin at the same parameters."""
    shapes = [(64, 64), (1, 64), (64, 10), (1, 10)]
    parts: list[list[Tensor]] = [[] for _ in shapes]
    for seed in range(seeds):
        draw = torch.Generator().manual_seed(seed)
        for part, shape in zip(parts, shapes, strict=True):
            one = torch.randn(shape, generator=draw) / 8.0 if shape[0] > 1 else torch.zeros(shape)
            part.append(one.expand(len(lrs), *shape))
    parameters = [torch.cat(part).clone().requires_grad_() for part in parts]
    lr = torch.tensor(lrs * seeds)
    return Grid(parameters, lr, [(torch.zeros_like(p), torch.zeros_like(p)) for p in parameters])


def losses(parameters: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of each member on its batch: (R, B) of x (R, B, 64) and y (R, B)."""
    a, b, c, d = parameters
    out = torch.tanh(x @ a + b) @ c + d
    return torch.logsumexp(out, -1) - out.gather(-1, y[..., None]).squeeze(-1)


def step(grid: Grid, optimizer: str) -> None:
    """One step of SGD with momentum, or of AdamW without decay, of every member."""
    grid.steps += 1
    beta = MOMENTUM[optimizer]
    with torch.no_grad():
        for p, (m, v) in zip(grid.parameters, grid.memory, strict=True):
            lr = grid.lr.view(-1, 1, 1)
            if optimizer == "sgd":
                m.mul_(beta).add_(p.grad)
                p.sub_(lr * m)
            else:
                m.mul_(beta).add_(p.grad, alpha=1 - beta)
                v.mul_(0.999).addcmul_(p.grad, p.grad, value=0.001)
                weight, square = 1 - beta**grid.steps, 1 - 0.999**grid.steps
                p.sub_(lr * (m / weight) / ((v / square).sqrt() + 1e-8))
            p.grad = None


def noise_parts(parameters: list[Tensor], x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """TrΣ and |G|² of one member, over all data: each sample's gradient, by its two layers' factors."""
    a, b, c, d = (p.detach() for p in parameters)
    hidden = torch.tanh(x @ a + b)
    out = torch.softmax(hidden @ c + d, -1)
    out[torch.arange(len(y)), y] -= 1.0
    back = (out @ c.T) * (1 - hidden**2)
    square = (out**2).sum(-1) * (1 + (hidden**2).sum(-1)) + (back**2).sum(-1) * (1 + (x**2).sum(-1))
    n = len(y)
    means = [x.T @ back / n, back.mean(0), hidden.T @ out / n, out.mean(0)]
    total = sum((g**2).sum() for g in means)
    return (square.mean() - total) * n / (n - 1), total


def sweep(
    optimizer: str, batch: int, lrs: list[float], seeds: int, target: float, data: tuple[Tensor, Tensor]
) -> tuple[Tensor, Any]:
    """Steps until the target, (seeds, lrs), inf where it was not met; and trΣ, |G|² along the way, by member."""
    x, y = data
    grid = start(lrs, seeds)
    draw = torch.Generator().manual_seed(1000 + batch)
    limit = max(int(EPOCHS * len(y) / batch), 600)
    every = max(len(y) // (8 * batch), 1)
    done = torch.full((len(grid.lr),), math.inf)
    noises: list[list[tuple[float, float]]] = [[] for _ in grid.lr]
    members = len(grid.lr)
    while grid.steps < limit:
        if grid.steps % every == 0:
            with torch.no_grad():
                loss = losses(grid.parameters, x.expand(members, -1, -1), y.expand(members, -1)).mean(-1)
            done = torch.where((loss < target) & done.isinf(), float(grid.steps), done)
            if batch == BASE and grid.steps % (4 * every) == 0:
                for i in done.isinf().nonzero().flatten().tolist():
                    parts = noise_parts([p[i] for p in grid.parameters], x, y)
                    noises[i].append((float(parts[0]), float(parts[1])))
            fewest = done.view(seeds, -1).min(1).values
            if bool((grid.steps > 3 * fewest).all()):
                break
        picked = torch.randint(len(y), (seeds, batch), generator=draw).repeat_interleave(len(lrs), 0)
        losses(grid.parameters, x[picked], y[picked]).mean(-1).sum().backward()
        step(grid, optimizer)
    return done.view(seeds, -1), noises


def best(steps: Tensor, lrs: list[float]) -> tuple[float, float, float]:
    """The best lr, the standard error of its logarithm, and the fewest steps: means over seeds of logarithms.

    Of a seed, the middle of the lrs within 10% of its fewest steps, since looking is coarser than the grid.
    """
    found, fewest = [], []
    for row in steps:
        least = float(row.min())
        near = [math.log(lr) for lr, s in zip(lrs, row.tolist(), strict=True) if s <= 1.1 * least]
        found.append(statistics.fmean(near))
        fewest.append(math.log(least))
    error = statistics.stdev(found) / math.sqrt(len(found)) if len(found) > 1 else math.nan
    return math.exp(statistics.fmean(found)), error, math.exp(statistics.fmean(fewest))


def critical(batches: tuple[int, ...], steps: list[float]) -> float:
    """B_crit of E = E_min (1 + B/B_crit): least squares of log E, over a fine grid."""
    samples = [math.log(b * s) for b, s in zip(batches, steps, strict=True)]

    def miss(scale: float) -> float:
        off = [e - math.log1p(b / scale) for e, b in zip(samples, batches, strict=True)]
        return statistics.pvariance(off)

    return min((2.0 ** (i / 16) for i in range(192)), key=miss)


def branched(optimizer: str, lr: float, steps: int, data: tuple[Tensor, Tensor]) -> CriticalBatch:
    """The critical batch by branches from the middle of one run at the base batch."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10))
    with torch.no_grad():
        for layer in (model[0], model[2]):
            layer.weight.normal_(0.0, 1.0 / 8.0)
            layer.bias.zero_()
    build: Any = torch.optim.SGD if optimizer == "sgd" else torch.optim.AdamW
    more = {"momentum": MOMENTUM[optimizer]} if optimizer == "sgd" else {"weight_decay": 0.0}
    moving = build(model.parameters(), lr=lr, **more)
    for _ in range(steps // 2):
        picked = torch.randint(len(data[1]), (BASE,))
        moving.zero_grad()
        nn.functional.cross_entropy(model(data[0][picked]), data[1][picked]).backward()
        moving.step()
    return critical_batch(model, nn.functional.cross_entropy, data, moving, batch_size=BASE)


def main() -> None:
    """Sweep, and print best and predicted learning rates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--target", type=float, default=0.2)
    given = parser.parse_args()
    torch.set_num_threads(1)
    digits = load_digits()
    order = torch.randperm(1797, generator=torch.Generator().manual_seed(0))[360:]
    data = torch.tensor(digits.data, dtype=torch.float32)[order] / 16.0, torch.tensor(digits.target)[order]
    for optimizer in ("sgd", "adamw"):
        show(optimizer, given.seeds, given.target, data)


def show(optimizer: str, seeds: int, target: float, data: tuple[Tensor, Tensor]) -> None:
    """The table of one optimizer."""
    low, high = FINEST[optimizer]
    lrs = [2.0 ** (low + i / 2) for i in range(round(2 * (high - low)) + 1)]
    found, noise = {}, math.nan
    for batch in BATCHES:
        steps, noises = sweep(optimizer, batch, lrs, seeds, target, data)
        found[batch] = best(steps, lrs)
        if batch == BASE:
            column = min(range(len(lrs)), key=lambda i: abs(math.log(lrs[i] / found[BASE][0])))
            ways = [noises[seed * len(lrs) + column] for seed in range(seeds)]
            scales = [sum(v for v, _ in way) / sum(g for _, g in way) for way in ways]
            noise = statistics.fmean(scales)
            print(f"\n{optimizer}: noise scale along one run at batch {BASE}: {noise:.0f}"
                  f" ({min(scales):.0f} to {max(scales):.0f} by seed)")  # fmt: skip
    measured = critical(BATCHES, [found[b][2] for b in BATCHES])
    branches = branched(optimizer, found[BASE][0], round(found[BASE][2]), data)
    print(f"critical batch, of samples to a loss of {target:g}: {measured:.0f}; noise scale: {noise:.0f}; by branches:")
    print(f"{branches.batch:.0f} ({branches.low:.0f} to {branches.high:.0f})")
    rules = [r for r in EVERY if r.applies(known_family(optimizer)) and r is not MAREK]
    present = settings_of(optimizer, lr=found[BASE][0], batch_size=BASE, momentum=MOMENTUM[optimizer])
    names = ["recommended by noise scale", "recommended by branches", *(r.name for r in rules)]
    print("| batch | steps | best lr (± of a factor) | " + " | ".join(f"{n} / best" for n in names) + " |")
    print("|---" * (3 + len(names)) + "|")
    for batch in BATCHES:
        lr, error, steps = found[batch]
        row = [unbounded(rule, present, batch, noise) for rule in rules]
        advised = [recommended(optimizer, present, batch, known) for known in (noise, branches.batch)]
        cells = ["–" if value is None else f"{value / lr:.2f}" for value in (*advised, *row)]
        print(f"| {batch} | {steps:.0f} | {lr:.4g} × {math.exp(error):.2f} | " + " | ".join(cells) + " |")


def recommended(optimizer: str, present: Settings, batch: int, noise: float) -> float | None:
    """The lr of the row that is recommended; None at the present batch."""
    if batch == BASE:
        return None
    now: dict[str, Any] = {"lr": present.lr, "batch_size": BASE, "momentum": present.momentum}
    rows = convert(optimizer, **now, to_batch_size=batch, noise_scale=noise).recommended
    return next((row.lr for row in rows if row.about == "lr"), None)


def unbounded(rule: Rule, present: Settings, batch: int, noise: float) -> float | None:
    """A rule's lr, also outside its condition."""
    new = rule.unbounded(present, batch, noise)
    return None if new is None else new.lr


if __name__ == "__main__":
    main()
