"""The search for a rate: a coarse ladder for each family, then the best rung and the one below, longer.

Short trials flatter large steps, so that where scores hardly differ the gentler rate is taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from thetadot.training.trials import Candidate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from thetadot.training.plan import Family
    from thetadot.training.trials import Trials

COARSE = 4.0
"""Factor between the rungs of a ladder."""
TIES = (0.2, 0.05)
"""Shares of the gain within which the scores of the first and of the second round do not differ."""
RUNGS, LONG = 3, 2  # first-round trials and second-round trials, of each family
STRETCHES = (4, 3, 2)  # how much longer the second round is: the first that leaves the first round enough steps
FEWEST_STEPS = 4


@dataclass(frozen=True)
class Ladder:
    """Starting point of one family's search, and the largest rate allowed."""

    center: float
    most: float = math.inf


@dataclass(frozen=True)
class Lengths:
    """Steps of the first and of the second round."""

    short: int
    long: int

    @classmethod
    def affordable(cls, allowance: float, families: int, batch_size: int, judging: float) -> Lengths | None:
        """The longest that ``allowance`` (in samples) pays for; None if it pays for none worth having.

        Args:
            allowance: samples to spend.
            families: how many are searched.
            batch_size: of a trial's step.
            judging: cost of one score.
        """
        short, long = RUNGS * families + 1, LONG * families  # one rung more: room to climb
        for stretch in STRETCHES:
            steps = int((allowance - (short + long) * judging) / ((short + long * stretch) * batch_size))
            if steps >= FEWEST_STEPS:
                return cls(steps, stretch * steps)
        return None


@dataclass
class Search:
    """Two rounds of trials.

    Attributes:
        trials: runs and scores candidates.
        momentum: of every candidate.
        lengths: steps of the two rounds.
        allowance: samples that the search may spend.
        tried: all candidates so far.
    """

    trials: Trials
    momentum: float
    lengths: Lengths
    allowance: float
    tried: list[Candidate] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.end = self.trials.cost.samples + self.allowance

    def run(self, ladders: Mapping[Family, Ladder]) -> list[Candidate]:
        """The candidates of the second round that gained anything, the one to take first."""
        reserve = LONG * len(ladders) * (self.lengths.long - self.lengths.short) * self.trials.batch_size
        climbed = [self._climb(family, ladder, reserve) for family, ladder in ladders.items()]
        for rungs in climbed:
            gentlest = self._gentlest(rungs, TIES[0])
            going_on = (gentlest, self._below(gentlest))
            for candidate in rungs:
                if candidate not in going_on:
                    candidate.snapshot = None  # a copy of model and optimizer each
            for candidate in going_on:
                self._advance(candidate, self.lengths.long, 2)
        return self._ranked()

    def _ranked(self) -> list[Candidate]:
        """Best first, but of one family's near ties the gentlest."""
        longest = max(c.steps for c in self.tried)
        rest = [c for c in self.tried if c.steps == longest and self._gained(c)]
        order: list[Candidate] = []
        while rest:
            best = min(rest, key=lambda c: c.score)
            order.append(self._gentlest([c for c in rest if c.optimizer == best.optimizer], TIES[1]))
            rest = [c for c in rest if c is not order[-1]]
        return order

    def _climb(self, family: Family, ladder: Ladder, reserve: float) -> list[Candidate]:
        """Three rungs around the center, more while the best stands at an end and the reserve is untouched."""
        rates = [ladder.center * COARSE**k for k in (-1, 0, 1)]
        rungs = [Candidate(family, rate, self.momentum) for rate in rates if rate <= max(ladder.most, rates[0])]
        for candidate in rungs:
            self._advance(candidate, self.lengths.short, 1)
        step = self.lengths.short * self.trials.batch_size
        while self.trials.cost.samples + step + reserve <= self.end:
            rungs.sort(key=lambda c: c.rate)
            best = min(rungs, key=lambda c: c.score) if any(math.isfinite(c.score) for c in rungs) else rungs[0]
            climbing = math.isfinite(best.score) and best is rungs[-1]
            sinking = best is rungs[0] and (not math.isfinite(best.score) or self._gained(best))
            if not (climbing or sinking) or (climbing and best.rate * COARSE > ladder.most):
                break
            rate = best.rate * COARSE if climbing else rungs[0].rate / COARSE
            rungs.append(Candidate(family, rate, self.momentum))
            self._advance(rungs[-1], self.lengths.short, 1)
        return rungs

    def _gentlest(self, rungs: list[Candidate], share: float) -> Candidate:
        """The lowest rate among those that gained nearly as much as the best."""
        best = min(c.score for c in rungs)
        tie = best + share * max(0.0, self.trials.start_loss - best)
        return min((c for c in rungs if c.score <= tie), key=lambda c: c.rate, default=rungs[0])

    def _gained(self, candidate: Candidate) -> bool:
        """Whether a trial came down from the start by a hundredth: below that, lower rates always look better."""
        return candidate.score < self.trials.start_loss - 0.01 * abs(self.trials.start_loss)

    def _below(self, best: Candidate) -> Candidate:
        rate = best.rate / COARSE
        same = (c for c in self.tried if c.optimizer == best.optimizer and math.isclose(c.rate, rate))
        return next(same, Candidate(best.optimizer, rate, self.momentum))

    def _advance(self, candidate: Candidate, steps: int, turn: int) -> None:
        """Continue a trial, if it can still be paid for; the very first is always run."""
        cost = (steps - candidate.steps) * self.trials.batch_size + self.trials.judging
        if self.tried and self.trials.cost.samples + cost > self.end:
            return
        self.trials.advance(candidate, steps, turn)
        if candidate not in self.tried:
            self.tried.append(candidate)
