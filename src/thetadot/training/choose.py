"""Choosing optimizer, lr, momentum and batch size: measured where a measurement decides, tried where none does.

The stability limit alone is 10 to 300 times too large a step for minibatch runs, which are limited by noise; 1/λmax on
the overdamped clock lr/(1-β) is the right scale, and short trials around it choose. All of it costs at most
:data:`SHARE` of the run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from thetadot.analysis import stability_limit
from thetadot.formatting import between
from thetadot.probes.heat import heat
from thetadot.records import Choice, Draws
from thetadot.training import reasons
from thetadot.training.learned import learned
from thetadot.training.plan import FAMILIES, Family, Plan
from thetadot.training.search import Ladder, Lengths, Search
from thetadot.training.trials import Candidate, Trials

if TYPE_CHECKING:
    from collections.abc import Callable

    from thetadot.records import Curvature, Entry, Noise
    from thetadot.tasks.task import Task
    from thetadot.training.data import Source
    from thetadot.training.instruments import Cost, Instruments

SHARE = 0.15
"""Most of the run's gradient evaluations that measuring and trials may take together."""

HORIZON = 0.25
"""Best rates fall with the length of a run, rate ∝ steps^(-1/4): half-way between descent limited by noise, where bias
e^(-rate·steps) against temperature ∝ rate gives 1/2, and descent limited by curvature, where length does not matter."""

MOMENTUM = 0.9
ADAM_LR = 4e-3
ITERATIONS = 8


@dataclass(frozen=True)
class Given:
    """Settings that the user has fixed; None leaves one free."""

    optimizer: Family | None = None
    lr: float | None = None
    momentum: float | None = None
    batch_size: int | None = None
    annealing: str | None = None


@dataclass
class Chooser:
    """Everything that choosing needs of a run.

    Attributes:
        task: what is trained.
        source: its training data.
        instruments: measure.
        judges: training samples held back from the trials.
        cost: evaluations so far.
        samples: the run's length, epochs × training samples.
        given: what the user has fixed.
        write: receives measurements, trials and choices.
        tracking: share of the run kept for measuring during training.
        least: samples that a step takes at least: 2 where a model has statistics of a batch.
    """

    task: Task
    source: Source
    instruments: Instruments
    judges: list[int]
    cost: Cost
    samples: int
    given: Given
    write: Callable[[Entry], None]
    tracking: float
    least: int = 1
    curvature: Curvature | None = None
    noise: Noise | None = None
    tried: list[Candidate] = field(default_factory=list)
    center: float = 1.0
    expected: tuple[float, int] = (math.inf, 0)
    """The loss that the best trial came to, and its steps."""

    def choose(self) -> Plan:
        """Measure, try, decide, and say why."""
        self._measure("start")
        batch_size = self._batch_size()
        best = self._settings(batch_size)
        plan = Plan(best.optimizer, best.lr, best.momentum, batch_size, self._last_batch(batch_size), coupled=False)
        if plan.optimizer == "heavy-ball" and plan.momentum > 0 and self.given.annealing != "cosine":
            plan = replace(plan, coupled=True)
        self.write(reasons.annealing(plan, given=self.given.annealing == "cosine"))
        return plan

    def _measure(self, when: Literal["start", "warm-up"]) -> None:
        if self.instruments.reference:
            curvature = self.instruments.curvature(when, 0, ITERATIONS)
            if curvature is not None:
                self.curvature = curvature
                self.write(curvature)
        noise = self.instruments.noise(when, 0, min(64, int(self.samples * 0.004)))
        if noise is not None:
            self.noise = noise
            self.write(noise)

    def _batch_size(self) -> int:
        """The largest power of two below the noise scale that leaves enough steps, at most 512."""
        if self.given.batch_size is not None:
            self.write(Choice("batch_size", self.given.batch_size, "given", "given"))
            return self.given.batch_size
        most = max(8, min(512, self.samples // 2000, self.source.size // 16))
        most = min(most, max(1, self.source.size // 4))
        wanted = 32.0 if self.noise is None else max(self.noise.noise_scale, min(32, most))
        value = max(self.least, _power_of_two(min(wanted, most)))
        self.write(reasons.batch_size(value, self.noise))
        return value

    def _last_batch(self, batch_size: int) -> int:
        """Four times the first, as far as the data go; a given batch size stays."""
        if self.given.batch_size is not None:
            return batch_size
        return max(batch_size, min(4 * batch_size, _power_of_two(max(1, self.source.size // 8))))

    def _settings(self, batch_size: int) -> Candidate:
        """Optimizer, lr and momentum, with their reasons."""
        given = self.given
        momentum = self._momentum(batch_size) if given.momentum is None else given.momentum
        horizon = 1.0
        source: reasons.Source = "given"
        if given.lr is not None:
            family: Family = given.optimizer or "heavy-ball"
            best = Candidate.of(family, given.lr, momentum)
        else:
            best, horizon, source = self._try(batch_size, momentum)
        self.write(reasons.optimizer(best, self.tried, source, given=bool(given.optimizer)))
        center = ADAM_LR if best.optimizer == "adam" else self.center
        self.write(reasons.lr(best, self.curvature, horizon, center, source))
        self.write(reasons.momentum(best, given=given.momentum is not None))
        if self.noise is not None and best.optimizer == "heavy-ball":
            size = sum(p.numel() for p in learned(self.task))
            found = heat(
                best.lr,
                best.momentum,
                self.instruments.heating["plain"],
                batch_size,
                parameters=size,
                draws=Draws(0, "epochs", self.source.size),
                curvature=self.instruments.sharpest.get("plain"),
            )
            if found is not None:
                why = "what noise keeps up in the sharpest direction under shuffled epochs, in loss per parameter"
                self.write(Choice("temperature", found.value, why + between(found.low, found.high), "measured"))
        return best

    def _momentum(self, batch_size: int) -> float:
        """0.9, or less where the run is so short that velocity would not be forgotten many times in it."""
        tenths = round(10 * MOMENTUM)
        while tenths > 0 and self.samples / batch_size * (1 - tenths / 10) < 20:
            tenths -= 1
        return tenths / 10

    def _center(self) -> float:
        """1/λmax, the scale of lr/(1-β)."""
        return 1.0 / self.curvature.sharpness if self.curvature and self.curvature.sharpness > 0 else 1.0

    def _try(self, batch_size: int, momentum: float) -> tuple[Candidate, float, reasons.Source]:
        """The setting that trials prefer, its rate carried over to the run's length, and the factor of that."""
        families = (self.given.optimizer,) if self.given.optimizer else FAMILIES
        again = self.instruments.spent  # the measurement after the trials
        allowance = (SHARE - self.tracking) * self.samples - self.cost.samples - again
        judging = 2.0 * len(self.judges) / 3.0
        lengths = Lengths.affordable(allowance, len(families), batch_size, judging) if self.judges else None
        self.center = self._center()
        lr = 1e-3 if families[-1] == "adam" else self.center * (1.0 - momentum) / 2.0
        rule = Candidate.of(families[-1], lr, momentum)
        if lengths is None:
            return rule, 1.0, "rule"
        trials = Trials(self.task, self.source, self.instruments, self.judges, batch_size, self.cost, self.write)
        ladders = {
            "heavy-ball": Ladder(self.center, self._steepest(momentum)),
            "adam": Ladder(ADAM_LR, self._typical_size()),
        }
        search = Search(trials, momentum, lengths, allowance, self.tried)
        try:
            ranked = search.run({family: ladders[family] for family in families})
            horizon = min(1.0, (lengths.long * batch_size / self.samples) ** HORIZON)
            best = next((c for c in ranked if self._stable_after(c, horizon)), None)
        finally:
            trials.rewind()
        if best is None:
            return rule, 1.0, "rule"
        self.expected = (best.score, best.steps)
        return replace(best, rate=best.rate * horizon, snapshot=None), horizon, "tried"

    def _stable_after(self, candidate: Candidate, horizon: float) -> bool:
        """Measure where the trial has come to: a step above the stability limit there has been lucky."""
        assert candidate.snapshot is not None  # noqa: S101 - a trial of the second round has one
        candidate.snapshot.restore(self.task.model, loss=self.task.loss)
        if self.cost.samples + self.instruments.spent / 2 <= SHARE * self.samples:  # else the last reading must do
            self._measure("warm-up")
        if candidate.optimizer == "adam" or self.curvature is None:
            return True
        return candidate.lr * horizon * self.curvature.sharpness < stability_limit(candidate.momentum)

    def _steepest(self, momentum: float) -> float:
        """A quarter of the stability limit at the start, as lr/(1-β): curvature grows in training."""
        return stability_limit(momentum) * self.center / (4.0 * (1.0 - momentum))

    def _typical_size(self) -> float:
        """Root mean square of the parameters: Adam moves each by lr a step, and a step longer than that is none."""
        parameters = [p.detach() for p in learned(self.task)]
        return math.sqrt(sum(float((p * p).sum()) for p in parameters) / sum(p.numel() for p in parameters))


def _power_of_two(value: float) -> int:
    """The largest power of two not above ``value``, at least 1."""
    return int(2 ** math.floor(math.log2(value))) if value >= 1 else 1
