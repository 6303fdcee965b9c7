"""What watching costs: steps with ``thetadot.watch`` against plain steps, interleaved, one thread.

    python benchmarks/probe_overhead.py [--steps 2000] [--repeats 5] [--models mlp cnn transformer] [--level default]

Per model three copies train on the same batches in blocks of 20 steps, turn by turn: plain, watched, and a null control
(the hooks are there, nothing is measured). Times are the thread's own processor time, so that other work on the machine
weighs little. The ratio is of sums over all steps, the first measurement (a cold Lanczos iteration) included, and given
with a 95% interval over repeats; beside it stands what the recorder counted: gradient work over that of the steps.
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np
import torch
from torch import nn

import thetadot
from thetadot.core.intervals import interval

NOTHING = thetadot.monitor.cadence.Plan("default", 10**9, away=False, pairs=False, early=False)
BLOCK = 20


class Transformer(nn.Module):
    """Next-character model of about a million parameters."""

    def __init__(self, words: int = 96, width: int = 128, depth: int = 5, length: int = 64) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, width)
        self.place = nn.Parameter(torch.zeros(length, width))
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.head = nn.Linear(width, words)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(length))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.body(self.embed(x) + self.place, mask=self.mask, is_causal=True)
        return self.head(hidden).transpose(1, 2)


def mlp():
    model = nn.Sequential(nn.Linear(64, 256), nn.Tanh(), nn.Linear(256, 256), nn.Tanh(), nn.Linear(256, 10))
    return model, torch.randn(4096, 64), torch.randint(0, 10, (4096,)), 128


def cnn():
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 16, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip
    return model, torch.randn(4096, 1, 16, 16), torch.randint(0, 10, (4096,)), 128


def transformer():
    words = torch.randint(0, 96, (2048, 65))
    return Transformer(), words[:, :-1].contiguous(), words[:, 1:].contiguous(), 16


MODELS = {"mlp": mlp, "cnn": cnn, "transformer": transformer}


class Run:
    """One copy of a model that trains when it is its turn."""

    def __init__(self, build, watched: str | None) -> None:
        torch.manual_seed(0)
        self.model, self.x, self.y, self.batch = build()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9)
        self.loss = nn.CrossEntropyLoss()
        self.order = torch.Generator().manual_seed(1)
        self.seconds = 0.0
        self.probe = None
        started = time.thread_time()
        if watched is not None:
            reference = None if watched == "null" else (self.x[: self.batch], self.y[: self.batch])
            level = "default" if watched == "null" else watched
            self.probe = thetadot.watch(
                self.model, self.optimizer, loss_fn=self.loss, reference=reference, level=level
            ).start()
            if watched == "null":
                self.probe.monitor.plan = NOTHING
                self.probe.monitor.following, self.probe.monitor.measuring = float("inf"), False
                self.probe.together.micro.disarm()
                self.probe._stand_back()  # noqa: SLF001 - the control takes away what was set up for a first reading
                self.probe.hooks.rest()
        self.seconds += time.thread_time() - started

    def train(self, steps: int) -> None:
        started = time.thread_time()
        for _ in range(steps):
            rows = torch.randint(0, len(self.x), (self.batch,), generator=self.order)
            self.optimizer.zero_grad()
            self.loss(self.model(self.x[rows]), self.y[rows]).backward()
            self.optimizer.step()
        self.seconds += time.thread_time() - started


def repeat(build, level: str, steps: int) -> tuple[float, float, float, float]:
    """Ratios of watched and null to plain, counted work, milliseconds of a plain step."""
    runs = [Run(build, watched) for watched in (None, level, "null")]
    for run in runs:  # the first steps of a process are its slowest
        Run(build, None).train(3)
        del run
    for block in range(steps // BLOCK):
        for k in range(3):
            runs[(block + k) % 3].train(BLOCK)
    plain, watched, null = runs
    counted = watched.probe.extra / watched.probe.work
    for run in (watched, null):
        run.probe.close()
    return watched.seconds / plain.seconds, null.seconds / plain.seconds, counted, 1e3 * plain.seconds / steps


def said(values: list[float]) -> str:
    mean, half = interval(values)
    half = math.nan if half is None else half
    return f"{mean:.3f} [{mean - half:.3f}, {mean + half:.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--models", nargs="*", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--levels", nargs="*", default=["default", "light"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| model | level | plain step, ms | watched / plain | null / plain | counted extra work |")
    print("|---|---|---|---|---|---|")
    for name in options.models:
        for level in options.levels:
            found = [repeat(MODELS[name], level, options.steps) for _ in range(options.repeats)]
            watched, null, counted, milliseconds = (list(column) for column in zip(*found, strict=True))
            print(
                f"| {name} | {level} | {np.mean(milliseconds):.2f} | {said(watched)} | {said(null)} "
                f"| {np.mean(counted):.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
