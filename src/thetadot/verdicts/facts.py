"""Facts that the verdicts read from a record, with every number safe to compute with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from thetadot.core.formatting import plain
from thetadot.dictionary.families import family_of
from thetadot.dictionary.settings import Settings
from thetadot.records import (
    Barrier,
    Choice,
    Constant,
    Curvature,
    Draws,
    End,
    Epoch,
    Equilibrium,
    Motion,
    Noise,
    Regularization,
    Remark,
    Setting,
    loss_curve,
    standing,
)
from thetadot.records.columns import comparable
from thetadot.verdicts.operating_point import OperatingPoint
from thetadot.verdicts.thresholds import AVERAGED, CURVE, EARLIEST, END, FEW, HANDFUL, SAMPLES, START, USUAL_BETA2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thetadot.dictionary.families import Family
    from thetadot.records import Record, Rows, Watched
    from thetadot.records.columns import Array

LARGEST = 1e100
SMALLEST = 1e-100
"""Beyond these the arithmetic of a verdict could overflow; a number there says nothing."""


def number(value: Any) -> float | None:
    """A float to reckon with; None where it is missing, no number, or too large.

    Example:
        >>> number(3), number(None), number(10**400), number("x")
        (3.0, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if -LARGEST < value < LARGEST else None


def positive(value: Any) -> float | None:
    """Return a positive number as a float; None for any other."""
    found = number(value)
    return found if found is not None and found > SMALLEST else None


def finite_field(entries: Rows[Any], name: str) -> Array:
    """Return one field of each entry; NaN where :func:`number` is None."""
    found = entries.column(name)
    good = np.abs(found) < LARGEST
    return found if good.all() else np.where(good, found, np.nan)


@dataclass(frozen=True)
class Facts:
    """A record, read once.

    Attributes:
        record: what was read.
        length: of the run in steps, where the record has only a part of it.
        curve: steps and losses, where they are not those that the record has.
    """

    record: Record
    length: float | None = None
    curve: tuple[Array, Array] | None = None

    def until(self, step: float) -> Facts:
        """Return the facts known up to ``step``."""
        entries = self.record.columns
        kept = np.ones(len(entries), dtype=np.bool_)
        for kind, rows in entries.kinds():
            if "step" in kind.__struct_fields__ and kind is not End:  # the run's length stays known
                kept[entries.places(kind)[finite_field(rows, "step") > step]] = False
        steps, losses = self.losses
        curve = (steps[steps <= step], losses[steps <= step])
        return Facts(replace(self.record, entries=entries.at(np.flatnonzero(kept))), self.steps, curve)

    @cached_property
    def motions(self) -> Rows[Motion]:
        """Motions that no rollback undid, in order."""
        return standing(self.record, Motion)[0]

    @cached_property
    def _measured(self) -> list[Curvature]:
        found = [  # the method "forward" measures along the gradient, which is no λmax
            e
            for e in standing(self.record, Curvature)[0]
            if e.when != "warm-up" and e.method == "lanczos" and number(e.sharpness) is not None
        ]
        return [e for e in found if e.preconditioned == found[-1].preconditioned]

    @cached_property
    def curvatures(self) -> list[Curvature]:
        """Measurements of curvature that stand and are no part of choosing; those of the training's own kind.

        Behind a preconditioner none of the first steps: of a few squared gradients P is mostly their scatter, and
        P⁻¹H then is thousands of times what it soon becomes.
        """
        settled = min(START * self.steps, AVERAGED / (1.0 - (self._beta2 or USUAL_BETA2)))
        return [e for e in self._measured if not e.preconditioned or (number(e.step) or 0.0) >= settled]

    @cached_property
    def no_curvature(self) -> str:
        """Why there is no curvature to judge by."""
        if not self._measured:
            return "no curvature was measured"
        last = number(self._measured[-1].step) or 0.0
        return f"curvature was last measured at step {plain(last)}, before the preconditioner had averaged gradients"

    @cached_property
    def sampled(self) -> tuple[str, str]:
        """The most that a finding from curvature can be sure of, and why, by how many samples it was measured on."""
        sizes = [size for e in self.curvatures[-1:] if (size := positive(e.samples)) is not None]
        all_of_them = positive(self.record.header.train_samples)
        if not sizes or sizes[0] >= SAMPLES or (all_of_them is not None and sizes[0] >= all_of_them):
            return "high", ""
        word = "low" if sizes[0] < HANDFUL else "moderate"
        return word, f"curvature of {plain(sizes[0])} samples, which is mostly larger than the data's"

    @cached_property
    def noises(self) -> list[Noise]:
        """Measurements of noise that stand and have a noise scale."""
        return [e for e in standing(self.record, Noise)[0] if e.when != "warm-up" and positive(e.noise_scale)]

    @cached_property
    def equilibria(self) -> list[Equilibrium]:
        """Equilibrium windows that no rollback has undone."""
        return list(standing(self.record, Equilibrium)[0])

    @property
    def watched(self) -> Watched | None:
        """Description of the watched loop, from the header."""
        return self.record.header.watched

    @cached_property
    def end(self) -> End | None:
        """Last entry on how the watching ended; None if it has not ended."""
        ends = self.record.of(End)
        return ends[-1] if ends else None

    @cached_property
    def steps(self) -> float:
        """Length of the run, in steps."""
        if self.length is not None:
            return self.length
        closing = [self.end.step] if self.end else []
        result = [self.record.result.steps] if self.record.result else []
        kinds: tuple[Sequence[Any], ...] = (self.motions, self._measured, self.noises, self.equilibria)
        seen = [e.step for kind in kinds for e in kind[-1:]]
        epochs = [e.step for e in self.record.of(Epoch)[-1:]]
        return max((s for s in map(number, [*closing, *result, *seen, *epochs]) if s is not None), default=0.0)

    @cached_property
    def optimizer(self) -> str:
        """Name of the optimizer; "" where the record has none."""
        if self.watched is not None:
            return self.watched.optimizer
        if self.record.result is not None:
            return self.record.result.optimizer
        names = [str(choice.value) for choice in self.record.of(Choice) if choice.setting == "optimizer"]
        return names[-1] if names else ""

    @cached_property
    def family(self) -> Family | None:
        """The family that scaling rules speak of: by a preconditioner that was seen, else by the optimizer's name."""
        measured = bool(standing(self.record, Curvature)[0].column("preconditioned").any())
        named = family_of(self.optimizer)
        known = named if named != "spectral" else None  # no verdict was made for steps in the spectral norm
        return "adaptive" if measured or "betas[1]" in self._given else known

    def at(self, step: float) -> Motion | None:
        """The motion at a step: the last one before or at it, else the first."""
        if not self.motions:
            return None
        return self.motions[max(self._until(step) - 1, 0)]

    def _until(self, step: float) -> int:
        """How many motions there are up to a step."""
        return int(np.searchsorted(self._steps, comparable(step), side="right"))

    @cached_property
    def _steps(self) -> Array:
        """Of the motions, none below the one before: a foreign record may not be in order."""
        steps: Array = np.maximum.accumulate(self.motions.ordered("step"))
        return steps

    def batch_at(self, step: float) -> float | None:
        """The batch size at a step."""
        motion = self.at(step)
        return (positive(motion.batch_size) if motion is not None else None) or self.batch

    @cached_property
    def epoch_size(self) -> float | None:
        """Samples of a shuffled epoch, where batches are drawn so; a run of ours shuffles."""
        drawn = self.record.of(Draws)
        if drawn:
            size = positive(drawn[-1].dataset_size)
            return size if drawn[-1].sampling == "epochs" else None
        return positive(self.record.header.train_samples) if self.watched is None else None

    @cached_property
    def whole(self) -> bool:
        """Whether a batch is all of the data."""
        size = positive(self.record.header.train_samples)
        return size is not None and self.batch is not None and self.batch >= size

    @cached_property
    def point(self) -> OperatingPoint | None:
        """Operating point: settings at the last step of the largest lr, between warm-up and annealing.

        None where no step has both a learning rate and a batch size. The batch is that of this step, not of another:
        the largest of the last few up to it, since an epoch's last batch may be smaller.
        """
        peak = self.peak
        lr = positive(peak.lr) if peak is not None else None
        if peak is None or lr is None:
            return None
        batch = self._batch_near(peak.step)
        if batch is None:
            return None
        beta = number(peak.momentum)
        decay, decoupled = self.decay
        eps = number(self._given.get("eps")) if self.family == "adaptive" else None
        settings = Settings(
            lr,
            batch,
            beta if beta is not None and 0 <= beta < 1 else None,
            self._beta2 if self.family == "adaptive" else None,
            eps if eps is not None and eps >= 0 else None,
            decay,
            decoupled,
        )
        return OperatingPoint(peak.step, settings)

    @cached_property
    def batch(self) -> float | None:
        """The batch size where the run works; without steps, the one that was chosen or that the result names."""
        if self.point is not None:
            return self.point.settings.batch
        near = self._batch_near(self.motions[-1].step) if self.motions else None
        result = [self.record.result.batch_size] if self.record.result else []
        chosen = [choice.value for choice in self.record.of(Choice) if choice.setting == "batch_size"]
        return next((size for size in map(positive, [near, *result, *chosen[::-1]]) if size is not None), None)

    @cached_property
    def batch_said(self) -> str:
        """The operating batch size in words, with its step where batch sizes varied."""
        said = "unknown" if self.batch is None else plain(self.batch)
        return f"{said} (at step {plain(self.point.step)})" if self.point is not None and self._varied else said

    @cached_property
    def _varied(self) -> bool:
        """Whether the batch changed by more than an epoch's last batch does: the largest of each stretch differ."""
        sizes = finite_field(self.motions, "batch_size")
        sizes = sizes[sizes > SMALLEST]
        width = max(len(sizes) // 10, FEW)
        largest = sizes[: len(sizes) // width * width].reshape(-1, width).max(axis=1)
        return bool((largest != largest[:1]).any())

    def _batch_near(self, step: float) -> float | None:
        sizes = finite_field(self.motions, "batch_size")[: self._until(step)]
        recent: list[float] = sizes[sizes > SMALLEST][-FEW:].tolist()
        return max(recent, default=None)

    @cached_property
    def _given(self) -> dict[str, Any]:
        """Hyperparameters as they were first seen and as they changed."""
        given: dict[str, Any] = {}
        for entry in self.record.of(Setting):
            given |= entry.values
        return given

    @cached_property
    def _beta2(self) -> float | None:
        beta2 = number(self._given.get("beta2", self._given.get("betas[1]")))
        return beta2 if beta2 is not None and 0 < beta2 < 1 else None

    @cached_property
    def decay(self) -> tuple[float, bool]:
        """Weight decay, 0 where none is known, and whether it acts beside the gradient."""
        mode, flag = self._given.get("weight_decay_mode"), self._given.get("decoupled_weight_decay")
        decoupled = mode == "decoupled" if mode is not None else bool(flag) or "adamw" in self.optimizer.lower()
        return positive(self._given.get("weight_decay")) or 0.0, decoupled

    @cached_property
    def peak(self) -> Motion | None:
        """The last motion at the largest lr: between warm-up and annealing."""
        if not self.motions:
            return None
        lrs = np.nan_to_num(finite_field(self.motions, "lr"))
        return self.motions[len(lrs) - 1 - int(np.argmax(lrs[::-1]))]

    @cached_property
    def losses(self) -> tuple[Array, Array]:
        """Steps and losses, where both are known: of every step, where the record has it."""
        if self.curve is not None:
            return self.curve
        found = loss_curve(self.record)
        good = (np.abs(found.steps) < LARGEST) & (np.abs(found.losses) < LARGEST)
        return found.steps[good], found.losses[good]

    @cached_property
    def references(self) -> list[float]:
        """Losses of the reference, in order, where a measurement computed one."""
        terms, barriers = standing(self.record, Regularization)[0], standing(self.record, Barrier)[0]
        found = ((terms, "step", "loss"), (barriers, "since", "start_loss"), (barriers, "step", "end_loss"))
        steps = np.concatenate([finite_field(rows, step) for rows, step, _ in found])
        losses = np.concatenate([finite_field(rows, loss) for rows, _, loss in found])
        known = np.isfinite(steps) & np.isfinite(losses)
        order = np.lexsort((losses[known], steps[known]))
        values: list[float] = losses[known][order].tolist()
        return values

    @cached_property
    def course(self) -> tuple[float, float] | None:
        """Medians of the first and the last losses; None where there are too few.

        The first are a tenth, or of many as few as tell a loss from its scatter: the best runs fall fast.
        """
        _, losses = self.losses
        if len(losses) < CURVE:
            return None
        width = max(int(len(losses) * END), 1)
        return middle(losses[: min(width, max(EARLIEST, len(losses) // 100))]), middle(losses[-width:])

    @property
    def constant(self) -> float | None:
        """Training loss of the best constant output; None where the record has none."""
        found = self.record.of(Constant)
        return number(found[-1].train_loss) if found else None

    def remarked(self, about: str) -> Remark | None:
        """The first remark about something."""
        return next((e for e in self.record.of(Remark) if e.about == about), None)

    @cached_property
    def temperatures(self) -> tuple[float, float] | None:
        """The highest temperature and the last one; None where none is known."""
        found = finite_field(self.motions, "temperature")
        found = found[np.isfinite(found)]
        return (found.max().item(), found[-1].item()) if len(found) else None

    def lacking(self, *readings: str, otherwise: str) -> str:
        """Why a reading is not there: the watcher's own words, else ``otherwise``."""
        lacks = self.watched.lacks if self.watched is not None else {}
        said = [f"{name}: {lacks[name]}" for name in readings if name in lacks]
        return "; ".join(said) if said else otherwise


def interval(entry: Curvature) -> tuple[float, float]:
    """The ends of λmax; in older records those of an eigenvalue, by the residual."""
    sharpness, away = number(entry.sharpness) or 0.0, abs(number(entry.residual) or 0.0)
    low, high = number(entry.low), number(entry.high)
    return sharpness - away if low is None else min(low, sharpness), (
        sharpness + away if high is None else max(high, sharpness)
    )


def middle(values: Sequence[float] | Array) -> float:
    """Return the median of some values."""
    return float(np.median(values))
