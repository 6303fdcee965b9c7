"""Where a run stands when one asks what its settings should become."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

from thetadot.records import Choice, Curvature, Motion, Noise, Record, Setting, standing
from thetadot.report.series import number

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    motions = [m for m in standing(record, Motion)[0] if number(m.lr) > 0 and number(m.batch_size) > 0]
    if not motions:
        return None
    highest = max(motion.lr for motion in motions)
    now = next(motion for motion in reversed(motions) if motion.lr >= highest / 2)
    return Present(
        now.step,
        number(now.lr),
        number(now.batch_size),
        family(record),
        _last([entry for entry in standing(record, Noise)[0] if number(entry.noise_scale) > 0], now.step),
        _highest_lr(record, motions, now.step),
        momentum if 0 <= (momentum := number(now.momentum)) < 1 else None,
    )


def family(record: Record) -> Family:
    """Whether coordinates have step sizes of their own: by what was measured, else by the optimizer's name."""
    names = [str(choice.value) for choice in record.of(Choice) if choice.setting == "optimizer"]
    names += [record.result.optimizer] if record.result is not None else []
    names += [record.header.watched.optimizer] if record.header.watched is not None else []
    if any(entry.preconditioned for entry in record.of(Curvature)) or any(
        "betas[0]" in s.values for s in record.of(Setting)
    ):
        return "adaptive"
    return "adaptive" if any(word in name.lower() for name in names for word in ADAPTIVE) else "sgd"


def _last(entries: Sequence[E], step: int) -> E | None:
    before = [entry for entry in entries if entry.step <= step]
    return before[-1] if before else entries[0] if entries else None


def _top(entry: Curvature) -> float:
    high = number(entry.high)
    return max(entry.sharpness, high) if math.isfinite(high) else entry.sharpness


def _highest_lr(record: Record, motions: Sequence[Motion], step: int) -> float | None:
    measured = [e for e in standing(record, Curvature)[0] if number(e.sharpness) > 0 and number(e.limit) > 0]
    entry = _last(measured, step)
    if entry is None or entry.limit is None:
        return None
    then = next((motion for motion in reversed(motions) if motion.step <= entry.step), motions[0])
    found = number(then.lr * entry.limit / _top(entry))
    return found if math.isfinite(found) and found > 0 else None
