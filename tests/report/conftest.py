"""A run as it could have been, written by the real writer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from thetadot import records
from thetadot.records import (
    SCHEMA,
    UNITS,
    VERSION,
    Choice,
    Curvature,
    Entry,
    Epoch,
    Fork,
    Header,
    Motion,
    Noise,
    Record,
    Result,
    Rollback,
    Writer,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

STEPS, EPOCHS = 1500, 30
SPENT_BEFORE = 12_000.0


def header(task: str = "digits", metric: str | None = "accuracy") -> Header:
    return Header(
        schema=SCHEMA,
        version=VERSION,
        task=task,
        seed=0,
        parameters=26_122,
        train_samples=1437,
        valid_samples=360,
        epochs=EPOCHS,
        device="cpu",
        threads=2,
        software={"thetadot": "0.1.0", "python": "3.11.9", "torch": "2.9.1"},
        quantities=dict(UNITS),
        metric=metric,
        started="2026-08-01T09:30:00+00:00",
    )


def motions() -> list[Motion]:
    """Cosine-falling lr with momentum rising so that friction stays; batch doubled twice."""
    rng = np.random.default_rng(0)
    found, clock, place = [], 0.0, 0.0
    for step in range(1, STEPS + 1):
        t = step / STEPS
        lr = 0.08 * (0.0025 + 0.9975 * 0.5 * (1 + math.cos(math.pi * t))) * min(1, step / 30)
        momentum = _momentum(lr)
        batch = 32 if t < 0.4 else 64 if t < 0.7 else 128
        time_step = math.sqrt(2 * lr / (1 + momentum))
        friction = (1 - momentum) * math.sqrt(2 / (lr * (1 + momentum)))
        temperature = lr * 30 / (2 * (1 - momentum) * batch * 26_122) * (0.02 + math.exp(-4 * t))
        clock += time_step
        speed = 3.2 * math.exp(-3.5 * t) * (1 - math.exp(-25 * t)) + 0.03 * rng.normal()
        place += speed * time_step
        loss = 2.25 * math.exp(-9 * t) + 0.02 + 0.6 * math.exp(-5 * t) * abs(rng.normal()) * 0.4
        found.append(
            Motion(
                step=step, epoch=step / (STEPS / EPOCHS), loss=loss, lr=lr, momentum=momentum, batch_size=batch,
                time_step=time_step, friction=friction, temperature=temperature, clock=clock,
                kinetic=temperature * rng.chisquare(50) / 50 + 2e-5 * math.exp(-12 * t),
                displacement=place, speed=speed,
                cost=SPENT_BEFORE + step * batch,
            )
        )  # fmt: skip
    return found


def _momentum(lr: float) -> float:
    """The momentum at which friction is what it is at lr=.08, momentum .9."""
    friction = 0.1 * math.sqrt(2 / (0.08 * 1.9))
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if (1 - middle) * math.sqrt(2 / (lr * (1 + middle))) > friction:
            low = middle
        else:
            high = middle
    return low


def curvatures() -> list[Curvature]:
    found = [Curvature("start", 0, 14.0, 0.9, None, 512, 900.0)]
    for i in range(11):
        t = i / 10
        limit = 47.5 / (0.004 + 0.5 * (1 + math.cos(math.pi * t)))
        found.append(
            Curvature(
                "training",
                1 + int(t * 1490),
                14 * (1 + 2 * t) - 20 * t * t,
                0.8 - 0.5 * t,
                limit,
                512,
                13_000.0 + 5000 * i,
            )
        )
    return found


def noises() -> list[Noise]:
    found = []
    for i in range(12):
        t = i / 11
        scale = 18 * math.exp(4.4 * t)
        resolved = i < 10
        found.append(
            Noise("training" if i else "start", int(t * 1495), 30 * math.exp(-2 * t), 30 * math.exp(-6.4 * t), scale,
                  scale / 1.5,
                  scale * 1.6, resolved, 512, 13_000.0 + 5000 * i)
        )  # fmt: skip
    return found


def forks() -> list[Fork]:
    found = []
    told = ((75, 0.02, 0.9, 0.7), (150, 0.04, 0.41, 0.29), (270, 0.08, 0.21, None), (450, 0.08, 0.1, 0.12))
    for step, lr, level, other in told:
        falls = [level * 1.3 ** ((7 - i) / 7) for i in range(15)]
        others = [] if other is None else [other * 1.5 ** ((7 - i) / 7) for i in range(15)]
        raised = other is not None and other < level
        why = f"at lr {2 * lr:g} the training loss was {other}, at {lr:g} {level}"
        found.append(
            Fork(step, 15, lr, 2 * lr, level, other, raised, why, SPENT_BEFORE + 32 * (step + 30),
                 losses=tuple(falls), other_losses=tuple(others))
        )  # fmt: skip
    return found


def choices() -> list[Choice]:
    return [
        Choice("optimizer", "heavy ball", "its step does not depend on the scale", "rule"),
        Choice("lr", 0.08, "a safe start; forks on the way found twice as much better twice", "rule"),
        Choice(
            "momentum", 0.9, "friction is held at critical damping of the largest curvature, 14.0 ± 0.9", "measured"
        ),
        Choice(
            "batch_size",
            32,
            "the noise scale at the start is 18 samples; a batch of 32 is the next power of two",
            "measured",
        ),
        Choice("schedule", "cosine", "the temperature ends at 1/400 of its start", "rule"),
    ]


def epochs(every: Sequence[Motion]) -> list[Epoch]:
    found = []
    for epoch in range(1, EPOCHS + 1):
        motion = every[epoch * STEPS // EPOCHS - 1]
        t = epoch / EPOCHS
        valid = 0.031 + 1.6 * math.exp(-9 * t) + 0.03 * max(t - 22 / 30, 0)
        found.append(
            Epoch(epoch, motion.step, motion.loss, valid, 0.989 - 0.7 * math.exp(-8 * t), motion.cost, 0.8 * epoch)
        )
    return found


def result(*, diverged: bool = False, metric: float | None = 0.9889) -> Result:
    return Result(
        optimizer="heavy ball", lr=0.08, momentum=0.9, batch_size=32, steps=STEPS, epochs=EPOCHS, train_loss=0.021,
        valid_loss=0.0364, best_valid_loss=0.031, best_epoch=22, metric=metric,
        sharpness=22.0, noise_scale=1200.0, temperature=1e-8,
        diverged=diverged, cost=110_000.0, seconds=25.2,
    )  # fmt: skip


def body() -> list[Entry]:
    """A whole run without its header, in the order of a run, one rollback included."""
    every = motions()
    timed: list[Entry] = [*every, *epochs(every), *forks(), *curvatures()[1:], *noises()[1:]]
    timed.sort(key=lambda entry: entry.step)
    at = next(i for i, entry in enumerate(timed) if entry.step == 300)
    wild = [
        Motion(
            **{name: getattr(every[300], name) for name in Motion.__struct_fields__ if name not in ("step", "loss")},
            step=300 + i, loss=0.5 * 1.12**i,
        )
        for i in range(20)
    ]  # fmt: skip
    timed[at:at] = [*wild, Rollback(320, 299, "the smoothed loss passed 3 times its best", 0.5)]
    return [curvatures()[0], noises()[0], *choices(), *timed, result()]


@pytest.fixture(scope="session")
def whole() -> list[Entry]:
    return body()


def put(folder: Path, head: Header, entries: Sequence[Entry]) -> Record:
    """Write a record into a folder, and read it back."""
    folder.mkdir(parents=True, exist_ok=True)
    with Writer(folder / "record.jsonl") as writer:
        for entry in (head, *entries):
            writer.write(entry)
    return records.read(folder)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Record]:
    """Write entries with the real writer, and read them back."""

    def record(entries: Sequence[Entry] = (), head: Header | None = None) -> Record:
        with Writer(tmp_path / "record.jsonl") as writer:
            for entry in (head or header(), *entries):
                writer.write(entry)
        return records.read(tmp_path)

    return record
