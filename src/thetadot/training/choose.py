"""Choosing optimizer, lr, momentum and batch size: measured where a measurement decides, tried where none does.

The stability limit alone is 10 to 300 times too large a step for minibatch runs, which are limited by noise; 1/λmax on the overdamped
clock lr/(1-β) is the right scale, and short trials around it choose. All of it costs at most :data:`SHARE` of the run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from thetadot.analysis import stability_limit
from thetadot.records import Choice, Curvature, Noise
from thetadot.training.plan import FAMILIES, Family, Plan
from thetadot.training.trials import Candidate, Trials
from thetadot.translation import temperature, to_physical

if TYPE_CHECKING:
    from collections.abc import Callable

    from thetadot.records import Entry
    from thetadot.training.data import Source
    from thetadot.training.instruments import Cost, Instruments
    from thetadot.training.task import Task

SHARE = 0.15
"""Most of the run's gradient evaluations that measuring and trials may take together."""

HORIZON = 0.25
"""Best rates fall with the length of a run, rate ∝ steps^(-1/4): half-way between descent limited by noise, where bias e^(-rate·steps)
against temperature ∝ rate gives 1/2, and descent limited by curvature, where the best rate does not depend on length."""

ITERATIONS = 8
MOMENTUM = 0.9
ADAM_LR = 4e-3
COARSE = 4.0
TIE = 0.05  # share of the gain within which first-round scores do not differ
LONG = 2  # trials of the second round, of each family
STRETCHES = (4, 3, 2)  # how much longer they are, the first that leaves the first round enough steps
_FEWEST_STEPS = 4


@dataclass(frozen=True)
class Given:
    """What the user has fixed; None is free."""

    optimizer: Family | None = None
    lr: float | None = None
    momentum: float | None = None
    batch_size: int | None = None
    annealing: str | None = None


@dataclass
class Chooser:
    """Everything that choosing needs of a run.

    Attributes:
        samples: the run's length, epochs × training samples.
        tracking: share of the run kept for measuring during training.
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
    curvature: Curvature | None = None
    noise: Noise | None = None
    tried: list[Candidate] = field(default_factory=list)
    horizon: float = 1.0

    @property
    def expected(self) -> tuple[float, int]:
        """The loss that the best trial came to, and in how many steps; infinite without trials."""
        best = self._longest_best() if self.tried else None
        return (best.score, best.steps) if best else (math.inf, 0)

    def choose(self) -> Plan:
        """Measure, try, decide, and say why."""
        self._measure("start")
        batch_size = self._batch_size()
        best = self._settings(batch_size)
        momentum = best.momentum
        last = self._last_batch(batch_size)
        plan = Plan(best.optimizer, best.lr, momentum, batch_size, last, coupled=False)
        return self._couple(plan)

    # Measuring.

    def _measure(self, when: Literal["start", "warm-up"]) -> None:
        if len(self.instruments.reference) >= 8:
            self.curvature = self.instruments.curvature(when, 0, ITERATIONS) or self.curvature
            if self.curvature is not None:
                self.write(self.curvature)
        wanted = 64 if self.samples * 0.004 >= 64 else 8 * int(self.samples * 0.004 / 8)
        self.noise = self.instruments.noise(when, 0, wanted) or self.noise
        if self.noise is not None and self.noise.when == when:
            self.write(self.noise)

    # Deciding.

    def _batch_size(self) -> int:
        given = self.given.batch_size
        if given is not None:
            self.write(Choice("batch_size", given, "given", "given"))
            return given
        most = min(512, max(8, min(self.samples // 2000, self.source.size // 16)), max(1, self.source.size // 4))
        least = min(32, most)
        if self.noise is None:
            value = _power_of_two(max(1, min(32, self.source.size // 4)))
            self.write(Choice("batch_size", value, "the run is too short to measure the gradient's noise", "rule"))
            return value
        value = _power_of_two(min(max(self.noise.noise_scale, least), most))
        bound = "" if self.noise.resolved else "at least "
        why = f"below the noise scale ({bound}{self.noise.noise_scale:.3g} samples), where a larger batch still buys more than it costs"
        if value > self.noise.noise_scale:
            why = (
                f"noise and signal are equal at {self.noise.noise_scale:.3g} samples at the start, and at more later; {value} keeps the steps cheap "
                "and many"
            )
        self.write(Choice("batch_size", value, why, "measured"))
        return value

    def _settings(self, batch_size: int) -> Candidate:
        given = self.given
        momentum = given.momentum
        if momentum is None:
            momentum = MOMENTUM
            steps = self.samples / batch_size
            while momentum > 0 and steps * (1.0 - momentum) < 20:  # velocity must be forgotten many times in a run
                momentum = round(momentum - 0.1, 1)
            momentum = max(0.0, momentum)
        if given.lr is not None:
            family: Family = given.optimizer or "heavy-ball"
            rate = given.lr / (1.0 - momentum) if family == "heavy-ball" else given.lr
            best = Candidate(family, rate, momentum)
            source: Literal["given", "tried", "rule"] = "given"
        else:
            families = (given.optimizer,) if given.optimizer else FAMILIES
            best, source = self._try(families, momentum, batch_size)
        self._explain(best, batch_size, source)
        return best

    def _try(self, families: tuple[Family, ...], momentum: float, batch_size: int) -> tuple[Candidate, Literal["tried", "rule"]]:
        """The setting that trials prefer, its rate carried over to the length of the run."""
        allowance = (SHARE - self.tracking) * self.samples - self.cost.samples - self._warm_cost()
        judging = 2.0 * len(self.judges) / 3.0
        coarse, long = 3 * len(families) + 1, LONG * len(families)  # a ladder each, with room at one end
        for stretch in STRETCHES:
            steps = int((allowance - (coarse + long) * judging) / ((coarse + long * stretch) * batch_size))
            if steps >= _FEWEST_STEPS:
                break
        center = 1.0 / self.curvature.sharpness if self.curvature and self.curvature.sharpness > 0 else None
        if steps < _FEWEST_STEPS or not self.judges:
            if center is not None and families == ("heavy-ball",):
                return Candidate("heavy-ball", center / 2.0, momentum), "rule"
            return Candidate(families[-1], 1e-3 if families[-1] == "adam" else 0.1, momentum), "rule"
        trials = Trials(self.task, self.source, self.instruments, self.judges, batch_size, self.cost, self.write)
        limit = self.cost.samples + allowance
        try:
            best = self._search(trials, families, momentum, center or 1.0, (steps, stretch * steps), limit, batch_size)
            if best.snapshot is not None:
                best.snapshot.restore(self.task.model)
                self._measure("warm-up")
        finally:
            trials.rewind()
        self.horizon = min(1.0, (best.steps * batch_size / self.samples) ** HORIZON)
        return Candidate(best.optimizer, best.rate * self.horizon, momentum, best.steps, best.score), "tried"

    def _search(
        self, trials: Trials, families: tuple[Family, ...], momentum: float, center: float, lengths: tuple[int, int], limit: float, batch_size: int
    ) -> Candidate:
        """A coarse ladder for each family; then the best of each and its lower neighbour, continued."""

        def run(candidate: Candidate, until: int, turn: int) -> bool:
            cost = (until - candidate.steps) * batch_size + 2.0 * len(self.judges) / 3.0
            if self.cost.samples + cost > limit and self.tried:
                return False
            trials.advance(candidate, until, turn)
            if candidate not in self.tried:
                self.tried.append(candidate)
            return True

        steps, longer = lengths
        long = LONG * len(families) * (longer - steps) * batch_size  # kept for the second round
        bests: list[Candidate] = []
        for family in families:
            middle = center if family == "heavy-ball" else ADAM_LR
            ladder = [Candidate(family, middle * COARSE**k, momentum) for k in (-1, 0, 1)]
            for candidate in ladder:
                run(candidate, steps, 1)
            most = self._typical_size() if family == "adam" else math.inf
            while self.cost.samples + steps * batch_size + long <= limit:  # climb on while the best stands at an end
                ladder.sort(key=lambda c: c.rate)
                best = min(ladder, key=lambda c: c.score)
                if math.isfinite(best.score) and best is not ladder[0] and best is not ladder[-1]:
                    break
                up = math.isfinite(best.score) and best is ladder[-1]
                if up and best.rate * COARSE > most:
                    break
                ladder.append(Candidate(family, ladder[-1].rate * COARSE if up else ladder[0].rate / COARSE, momentum))
                if not run(ladder[-1], steps, 1):
                    break
            bests.append(_gentlest(ladder, trials.start_loss))
        for best in bests:
            lower = [c for c in self.tried if c.optimizer == best.optimizer and math.isclose(c.rate, best.rate / COARSE)]
            for candidate in (best, *(lower or [Candidate(best.optimizer, best.rate / COARSE, momentum)])):
                run(candidate, longer, 2)
        return self._longest_best()

    def _typical_size(self) -> float:
        """Root mean square of the parameters: Adam moves every one by lr a step, and a step longer than that is none."""
        parameters = [p.detach() for p in self.task.model.parameters() if p.requires_grad]
        return math.sqrt(sum(float((p * p).sum()) for p in parameters) / sum(p.numel() for p in parameters))

    def _longest_best(self) -> Candidate:
        longest = max(c.steps for c in self.tried)
        return min((c for c in self.tried if c.steps == longest), key=lambda c: c.score)

    def _warm_cost(self) -> float:
        return 1.2 * (self.curvature.cost if self.curvature else 0.0) + (self.noise.samples if self.noise else 0)

    def _last_batch(self, batch_size: int) -> int:
        if self.given.batch_size is not None:
            return batch_size
        return max(batch_size, min(4 * batch_size, _power_of_two(max(1, self.source.size // 8))))

    def _couple(self, plan: Plan) -> Plan:
        """Raise the momentum as lr falls, unless the motion would not have time to relax."""
        coupled = replace(plan, coupled=True)
        refusal = None
        if plan.optimizer == "adam":
            refusal = "Adam's memory stays as it is"
        elif plan.momentum == 0:
            refusal = "there is no momentum to raise"
        elif self.given.annealing == "cosine":
            refusal = "momentum stays as it is, as given"
        if refusal is not None:
            self.write(Choice("annealing", "cosine", f"lr falls to {plan.end:.0%} while the batch grows to {plan.last_batch}; {refusal}", "rule"))
            return plan
        why = (
            f"the time step falls to {plan.end:.0%} at fixed friction while the batch grows to {plan.last_batch}, so momentum rises from "
            f"{plan.momentum:g} to {coupled.at(1.0).momentum:.4f} by the exact rule"
        )
        self.write(Choice("annealing", "coupled", why, "rule"))
        return coupled

    def _explain(self, best: Candidate, batch_size: int, source: Literal["given", "tried", "rule"]) -> None:
        others = [c for c in self.tried if c.optimizer != best.optimizer and math.isfinite(c.score)]
        rival = min(others, key=lambda c: c.score, default=None)
        if self.given.optimizer or source == "given":
            self.write(Choice("optimizer", best.optimizer, "given", "given"))
        elif source == "rule":
            self.write(Choice("optimizer", best.optimizer, "the run is too short for trials; Adam's step does not depend on the loss's scale", "rule"))
        else:
            against = f", {rival.optimizer} {rival.score:.3g}" if rival else ", the other family diverged"
            self.write(Choice("optimizer", best.optimizer, f"best held-back loss in the trials: {best.score:.3g}{against}", "tried"))
        self.write(Choice("lr", best.lr, self._why_lr(best, source), source))
        physical = to_physical(best.lr, best.momentum) if best.lr > 0 else None
        if self.given.momentum is not None:
            self.write(Choice("momentum", best.momentum, "given", "given"))
        else:
            memory = f"{1.0 / (1.0 - best.momentum):.3g} steps"
            why = f"the mean of the gradient remembers {memory}, as is usual"
            if best.optimizer == "heavy-ball":
                friction = f", a friction of {physical.friction:.3g} at a time step of {physical.step:.3g}" if physical else ""
                why = f"velocity is forgotten in {memory}{friction}; where noise limits the run only lr/(1-momentum) matters"
            self.write(Choice("momentum", best.momentum, why, "rule"))
        if self.noise is not None and best.momentum < 1:
            parameters = sum(p.numel() for p in self.task.model.parameters() if p.requires_grad)
            heat = temperature(best.lr, best.momentum, self.noise.gradient_variance, batch_size, parameters=parameters)
            if best.optimizer == "heavy-ball":
                self.write(Choice("temperature", float(heat), "what gradient noise keeps up at these settings, in loss per parameter", "measured"))

    def _why_lr(self, best: Candidate, source: str) -> str:
        if source == "given":
            return "given"
        if source == "rule":
            return "the run is too short for trials"
        if best.optimizer == "adam":
            around = f"{ADAM_LR:g}, Adam's usual scale"
        elif self.curvature is None or self.curvature.sharpness <= 0:
            around = "1"
        else:
            share = best.lr * self.curvature.sharpness / stability_limit(best.momentum)
            around = f"1/curvature (it is {share:.2g} of the stability limit at curvature {self.curvature.sharpness:.3g})"
        return f"{best.lr / self.horizon:.3g} was best in trials of {best.steps} steps around {around}; × {self.horizon:.2g} for the run's length"


def _gentlest(ladder: list[Candidate], start: float) -> Candidate:
    """The lowest rate among those that gained nearly as much as the best: short stretches flatter large steps."""
    best = min(c.score for c in ladder)
    return min((c for c in ladder if c.score <= best + TIE * max(0.0, start - best)), key=lambda c: c.rate, default=ladder[0])


def _power_of_two(value: float) -> int:
    """The largest power of two not above ``value``."""
    return int(2 ** math.floor(math.log2(value))) if value >= 1 else 1
