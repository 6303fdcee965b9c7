"""The order of the work: first what chooses and our own runs, then what gets our own runs' cost as its budget."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from thetadot.comparing.choice import Tried, edges, rank_points
from thetadot.comparing.compared_run import ComparedRun
from thetadot.comparing.showing import ShownStep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from thetadot.comparing.job import ComparisonJob, Measure, Outcome
    from thetadot.comparing.spec import GridPoint, Spec
    from thetadot.comparing.store import Store
    from thetadot.comparing.workers import Workers


@dataclass(frozen=True)
class Work:
    """All runs of a comparison, and the order in which they are done.

    Attributes:
        base: what all of them share, with the budget of epochs × samples.
        specs: what is compared.
        store: runs that have ended.
        seeds: that score.
        choosers: that choose.
        by: loss that is compared.
    """

    base: ComparisonJob
    specs: Sequence[Spec]
    store: Store
    seeds: range
    choosers: range
    by: Measure

    @property
    def total(self) -> int:
        """Number of runs of the whole comparison, those that are kept already too."""
        points = sum(len(spec.points) for spec in self.specs if spec.grid)
        return points * len(self.choosers) + len(self.specs) * len(self.seeds)

    def rows(self, workers: Workers, say: Callable[[ShownStep], None]) -> list[ComparedRun]:
        """Do the runs that are still to be done, and return a row a run, in the order given."""

        def do(jobs: Iterable[ComparisonJob]) -> dict[tuple[str, int], Outcome]:
            return {(job.point.identity, job.seed): outcome for job, outcome in self._done(list(jobs), workers, say)}

        single = [spec.points[0] for spec in self.specs if spec.own and not spec.grid]
        trials = [point for spec in self.specs if spec.grid for point in spec.points]
        first = do([*self._jobs(trials, self.choosers), *self._jobs(single, self.seeds)])
        order = {spec.name: self._order(spec, first) for spec in self.specs if spec.grid}
        chosen = {spec.name: order[spec.name][0].point if spec.grid else spec.points[0] for spec in self.specs}
        ours = [chosen[spec.name] for spec in self.specs if spec.own]
        scored = first | do(self._jobs([point for point in ours if point not in single], self.seeds))
        budgets = {
            seed: max([self.base.budget, *(scored[point.identity, seed].spent for point in ours)])
            for seed in self.seeds
        }
        theirs = [chosen[spec.name] for spec in self.specs if not spec.own]
        scored |= do(self._jobs(theirs, self.seeds, budgets))
        return [
            ComparedRun(
                spec.name,
                chosen[spec.name],
                tuple(scored[chosen[spec.name].identity, seed] for seed in self.seeds),
                tuple(order.get(spec.name, ())),
                tuple(edges(spec, chosen[spec.name])) if spec.grid else (),
            )
            for spec in self.specs
        ]

    def _order(self, spec: Spec, done: Mapping[tuple[str, int], Outcome]) -> list[Tried]:
        return rank_points(spec, {p: [done[p.identity, seed] for seed in self.choosers] for p in spec.points}, self.by)

    def _jobs(
        self, points: Iterable[GridPoint], seeds: range, budgets: Mapping[int, int] | None = None
    ) -> list[ComparisonJob]:
        """A job for each point and seed, a seed at a time: a comparison that is cut has whole seeds."""
        budgets = budgets or {}
        return [
            replace(self.base, point=point, seed=seed, budget=budgets.get(seed, self.base.budget))
            for seed in seeds
            for point in dict.fromkeys(points)
        ]

    def _done(
        self, jobs: list[ComparisonJob], workers: Workers, say: Callable[[ShownStep], None]
    ) -> list[tuple[ComparisonJob, Outcome]]:
        found: list[tuple[ComparisonJob, Outcome]] = []
        missing = []
        for job in jobs:
            outcome = self.store.find(job)
            if outcome is None:
                missing.append(job)
                continue
            found.append((job, outcome))
            say(ShownStep(job, outcome, kept=True))
        for job, outcome, record in workers.done(missing):
            self.store.keep(job, outcome, record)
            found.append((job, outcome))
            say(ShownStep(job, outcome))
        return found
