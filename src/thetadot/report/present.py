"""Where a run stands when one asks what its settings should become."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from thetadot.records import Choice, Curvature, Motion, Noise, Record, Setting, standing
from thetadot.report.series import above, latest, number

if TYPE_CHECKING:
    from thetadot.records import Rows
    from thetadot.verdicts import Rule

Family = Literal["sgd", "adaptive"]
ADAPTIVE = ("adam", "rmsprop", "adagrad", "adafactor", "lamb", "lion", "sign", "amos", "radam", "nadam", "adadelta")

E = TypeVar("E", Curvature, Noise)


@dataclass(frozen=True)
class Present:
    """One moment of a run.

    Attributes:
        step: when: the last one at which lr was at least half its highest, so that it is not the end of an annealing.
        lr, batch, momentum: the settings then.
        family: which scaling rules were made for this optimizer.
        noise: the last noise measurement up to then, or else the first.
        highest_lr: lr·limit/λmax, above which the step may be unstable: by the upper end of what was measured then.
    """

    step: int
    lr: float
    batch: float
    family: Family
    noise: Noise | None
    highest_lr: float | None
    momentum: float | None = None

    def lr_at(self, rule: Rule, batch: float) -> float | None:
        """What a rule makes of the learning rate at another batch size; None where it tells none."""
        scale = self.noise.noise_scale if self.noise is not None and self.noise.resolved else None
        return rule.lr(self.lr, self.batch, batch, scale, momentum=self.momentum)


def present(record: Record) -> Present | None:
    """The moment of a record; None where no step has both a learning rate and a batch size."""
    motions = above(above(standing(record, Motion)[0], "lr"), "batch_size")
    if not motions:
        return None
    lrs = motions.column("lr")
    now = motions[int(np.flatnonzero(lrs >= lrs.max() / 2)[-1])]
    return Present(
        now.step,
        number(now.lr),
        number(now.batch_size),
        family(record),
        _last(above(standing(record, Noise)[0], "noise_scale"), now.step),
        _highest_lr(record, motions, now.step),
        momentum if 0 <= (momentum := number(now.momentum)) < 1 else None,
    )


def family(record: Record) -> Family:
    """Whether coordinates have step sizes of their own: by what was measured, else by the optimizer's name."""
    names = [str(choice.value) for choice in record.of(Choice) if choice.setting == "optimizer"]
    names += [record.result.optimizer] if record.result is not None else []
    names += [record.header.watched.optimizer] if record.header.watched is not None else []
    if record.of(Curvature).column("preconditioned").any() or any("betas[0]" in s.values for s in record.of(Setting)):
        return "adaptive"
    return "adaptive" if any(word in name.lower() for name in names for word in ADAPTIVE) else "sgd"


def _last(entries: Rows[E], step: int) -> E | None:
    return latest(entries, step) if entries else None


def _top(entry: Curvature) -> float:
    high = number(entry.high)
    return max(entry.sharpness, high) if math.isfinite(high) else entry.sharpness


def _highest_lr(record: Record, motions: Rows[Motion], step: int) -> float | None:
    measured = above(above(standing(record, Curvature)[0], "sharpness"), "limit")
    entry = _last(measured, step)
    if entry is None or entry.limit is None:
        return None
    then = latest(motions, entry.step)
    found = number(then.lr * entry.limit / _top(entry))
    return found if math.isfinite(found) and found > 0 else None
