"""Verdicts on runs made wrong on purpose, on tasks that no threshold was tuned on but the first.

    python benchmarks/verdict_trials.py --seeds 3 [--task digits] [--say]

A run is wrong where one setting was changed and the loss on all of the data, after as many samples, is above the right
run's by 2% of what that one fell; else the change did no harm. A fault is named where the advice begins with it; of a
batch that does not go with its lr either may be named. A right run is accused where the advice is to change a setting.
What following advice does is counted by advice.py.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from sklearn.datasets import load_digits
from torch import nn

import thetadot
from thetadot.verdicts import judge

if TYPE_CHECKING:
    from collections.abc import Callable

    from thetadot.records import Record

HARM = 0.02
NAMES = {
    "lr too high": {"lower lr"},
    "lr too low": {"raise lr"},
    "momentum .999": {"lower momentum"},
    "batch x16": {"lower batch", "raise lr"},
    "batch /16": {"raise batch", "lower lr"},
}
INNOCENT = {"leave", "cool", "unknown"}


@dataclass(frozen=True)
class Trial:
    """A task with an optimizer that suits it."""

    name: str
    data: Callable[[], tuple[torch.Tensor, torch.Tensor]]
    model: Callable[[], nn.Module]
    loss: nn.Module
    kind: str
    lr: float
    batch: int
    epochs: int
    high: float = 10.0


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """1,500 images of 8x8."""
    found = load_digits()
    return torch.tensor(found.data[:1500], dtype=torch.float32) / 16, torch.tensor(found.target[:1500])


def perceptron() -> nn.Module:
    """64-128-128-10, tanh."""
    return nn.Sequential(nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, 10))


def convolutions() -> nn.Module:
    """Two convolutions."""
    first = [nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    second = [nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 10)]
    return nn.Sequential(*first, *second)


def characters() -> tuple[torch.Tensor, torch.Tensor]:
    """The docs of this repository, in pieces of 33 characters of ASCII."""
    paths = sorted((Path(__file__).parents[1] / "docs").glob("[a-u]*.md"))  # without the table of these runs
    text = "".join(path.read_text(encoding="utf-8") for path in paths)
    codes = torch.tensor([min(ord(c), 127) for c in text])[: 33 * 1000]
    pieces = codes[: len(codes) // 33 * 33].view(-1, 33)
    return pieces[:, :-1].contiguous(), pieces[:, 1:].contiguous()


class Transformer(nn.Module):
    """One block of width 32."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.place = nn.Embedding(128, 32), nn.Parameter(torch.zeros(32, 32))
        layer = nn.TransformerEncoderLayer(32, 2, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(32, 128)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits, classes on axis 1."""
        hidden = self.body(self.embedding(x) + self.place, mask=self.mask, is_causal=True)
        return self.head(hidden).transpose(1, 2)  # type: ignore[no-any-return]


def noisy() -> tuple[torch.Tensor, torch.Tensor]:
    """A linear law under noise of twice its size; variances of the inputs from 1 down to .01."""
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(8000, 20, generator=generator) * torch.logspace(0, -2, 20).sqrt()
    return x, x @ torch.randn(20, 1, generator=generator) + 2 * torch.randn(8000, 1, generator=generator)


ENTROPY = nn.CrossEntropyLoss()
TRIALS = (
    Trial("digits, perceptron (tuned on)", digits, perceptron, ENTROPY, "SGD", 0.1, 64, 20),
    Trial("digits, perceptron (tuned on)", digits, perceptron, ENTROPY, "AdamW", 5e-3, 64, 20, high=100.0),
    Trial("digits, convolutions", digits, convolutions, ENTROPY, "SGD", 0.1, 64, 15),
    Trial("digits, convolutions", digits, convolutions, ENTROPY, "Adam", 1e-2, 64, 15, high=100.0),
    Trial("characters, transformer", characters, Transformer, ENTROPY, "AdamW", 1e-2, 32, 10, high=100.0),
    Trial("noisy regression", noisy, lambda: nn.Linear(20, 1), nn.MSELoss(), "SGD", 3e-3, 16, 6),
)


def changes(trial: Trial) -> dict[str, tuple[float, float, int]]:
    """What is done: lr, momentum, batch size. Adam's momentum and batches have no clear truth: left out."""
    right = {"right": (trial.lr, 0.9, trial.batch)}
    lrs = {"lr too high": (trial.lr * trial.high, 0.9, trial.batch), "lr too low": (trial.lr / 10, 0.9, trial.batch)}
    if trial.kind != "SGD":
        return right | lrs
    batches = {"batch x16": (trial.lr, 0.9, trial.batch * 16), "batch /16": (trial.lr, 0.9, trial.batch // 16)}
    return right | lrs | {"momentum .999": (trial.lr, 0.999, trial.batch)} | batches


def train(trial: Trial, lr: float, momentum: float, batch: int, seed: int) -> tuple[float, float, Record]:
    """The loss on all of the data, first and last, and the record."""
    x, y = trial.data()
    torch.manual_seed(seed)
    model, shuffle = trial.model(), torch.Generator().manual_seed(seed)
    if trial.kind == "SGD":
        optimizer: torch.optim.Optimizer = torch.optim.SGD(model.parameters(), lr, momentum)
    else:
        optimizer = getattr(torch.optim, trial.kind)(model.parameters(), lr, betas=(momentum, 0.999))
    with torch.no_grad():
        first = float(trial.loss(model(x), y))
    with thetadot.watch(
        model, optimizer, loss_fn=trial.loss, reference=(x[:256], y[:256]), dataset_size=len(x)
    ) as probe:
        for _ in range(trial.epochs):
            order = torch.randperm(len(x), generator=shuffle)
            for piece in order.split(batch):
                optimizer.zero_grad()
                trial.loss(model(x[piece]), y[piece]).backward()
                optimizer.step()
    with torch.no_grad():
        return first, float(trial.loss(model(x), y)), probe.record


def verdict_of(what: str, finding: str, *, harmed: bool) -> str:
    """Whether the advice is right."""
    if what == "right":
        return "left alone" if finding in INNOCENT else "ACCUSED"
    if finding in NAMES[what]:
        return "named"
    if not harmed:
        return "no harm done"
    return "missed" if finding in INNOCENT else "misnamed"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--task", default="", help="only tasks whose name or optimizer holds this")
    parser.add_argument("--say", action="store_true", help="print the advice too")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print("| task | optimizer | run | loss at last | advice | verdict |\n|---|---|---|---|---|---|")
    for trial in TRIALS:
        if chosen.task not in f"{trial.name} {trial.kind}":
            continue
        best: dict[int, float] = {}
        for what, settings in changes(trial).items():
            losses, findings, outcomes = [], [], []
            for seed in range(chosen.seeds):
                first, last, record = train(trial, *settings, seed)
                best.setdefault(seed, last)
                advice, *others = judge(record)
                harmed = not last <= best[seed] + HARM * (first - best[seed])
                losses.append(f"{last:.3g}")
                findings.append(advice.finding)
                outcomes.append(verdict_of(what, advice.finding, harmed=harmed))
                if chosen.say:
                    print("    ", " | ".join(f"{v.name}: {v.finding}" for v in others), "\n     ", advice.says)
            advised = ", ".join(dict.fromkeys(findings))
            counted = ", ".join(f"{outcome} {outcomes.count(outcome)}" for outcome in dict.fromkeys(outcomes))
            print(f"| {trial.name} | {trial.kind} | {what} | {' '.join(losses)} | {advised} | {counted} |", flush=True)


if __name__ == "__main__":
    main()
