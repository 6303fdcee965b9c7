"""One simulation of a scene: its standard schedules, and how an interrupted one resumes."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch

from thetadot.errors import Diverged, InadmissibleValue, ThetadotError
from thetadot.scenes.rows import SceneRow
from thetadot.scenes.spelling import argument
from thetadot.scenes.time_grid import grid_of
from thetadot.simulation import Save, Series, Trajectory, simulate
from thetadot.systems import Problem
from thetadot.systems.base import POSITION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from thetadot.integrators import Integrator
    from thetadot.integrators.adaptive import Embedded
    from thetadot.scenes.scene import SceneSettings, Setup
    from thetadot.scenes.time_grid import TimeGrid
    from thetadot.systems import System

FEW = 64
"""Paths that are saved more often than all are."""
OFTEN = 400
"""Times of these, and of statistics."""
SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
_WAYS: dict[str, Literal["auto"] | bool] = {"compiled": True, "staged": "auto"}  # how an engine is chosen again
_MOST_NAMED = 4  # coordinates whose quantiles are kept


@dataclass(frozen=True)
class Ensemble:
    """A scene that is set up.

    Args:
        setup: what moves, from where.
        settings: how long, how finely.
        rule: how a step is made.
        frames: times at which all paths are saved, beside the start.
    """

    setup: Setup
    settings: SceneSettings
    rule: Integrator | Embedded
    frames: int

    @property
    def grid(self) -> TimeGrid:
        """The times of these settings."""
        return grid_of(self.settings.time, self.settings.step)

    @property
    def places(self) -> dict[str, tuple[float, ...]]:
        """Times at which each schedule saves."""
        return {name: self.grid.times(save) for name, save in self.saves.items()}

    @property
    def shapes(self) -> dict[str, torch.Size]:
        """Shapes of the variables that every path has for itself."""
        initial = self.setup.initial
        position = initial if isinstance(initial, torch.Tensor) else initial[POSITION]
        shape = torch.Size((self.settings.paths, torch.as_tensor(position).shape[-1]))
        return {name: shape for name in (POSITION, *self.system.variables) if name not in self.system.scalars}

    @property
    def bytes(self) -> int:
        """At most so many are in the arrays of a simulation."""
        state: int = sum(shape.numel() for shape in self.shapes.values()) * 8
        entries = sum(map(len, self.places.values()))
        return state * (self.frames + 2) + entries * (1 << 16) + (1 << 20)

    @property
    def system(self) -> System:
        """The system without its potential."""
        motion = self.setup.motion
        return motion.system if isinstance(motion, Problem) else motion

    @property
    def saves(self) -> dict[str, Save]:
        """Schedules: all paths now and then, a few often, quantiles, energy, and the scene's own."""
        found = {
            "states": Save(count=self.frames),
            "paths": Save(self._few, count=OFTEN),
            "band": Save(_band, count=OFTEN // 2),
        }
        if isinstance(self.setup.motion, Problem):
            found["energy"] = Save(self._energy, count=OFTEN // 2)
        return found | dict(self.setup.save)

    def run(
        self,
        begun: Trajectory | None,
        engine: str,
        *,
        progress: bool,
        keep: Callable[[Trajectory], None] | None = None,
    ) -> Trajectory:
        """Simulate, from the start or from where it stood; interrupted, KeyboardInterrupt carries ``last``.

        Args:
            begun: what was saved before, None at the start.
            engine: which one it was then.
            progress: whether to show a bar.
            keep: given what there is now and then, as :func:`~thetadot.simulation.simulate` does.

        Raises:
            ThetadotError: a path ran off to infinity, and which step may help.
        """
        passed = 0.0 if begun is None else begun.end.time
        left = self._left(begun)
        if begun is not None and passed >= self.settings.time:
            # what an interrupt took in the last moment cannot be saved any more, only simulated anew
            return self.run(None, "", progress=progress, keep=keep) if left else begun
        try:
            found = simulate(
                self.setup.motion,
                self.rule,
                self.setup.initial if begun is None else begun,
                time=self.settings.time - passed,
                step=self.settings.step,
                paths=None if begun is not None else self._copies,
                key=self.settings.key,
                save={name: Save(self.saves[name].what, times=[t - passed for t in at]) for name, at in left.items()},
                compile=_WAYS.get(engine, False) if begun is not None else "auto",
                progress=progress,
                keep=None if keep is None else lambda last: keep(self._joined(begun, last)),
            )
        except KeyboardInterrupt as interrupt:
            last = getattr(interrupt, "last", None)
            if isinstance(last, Trajectory):
                interrupt.last = self._joined(begun, last)  # type: ignore[attr-defined]
            raise
        except Diverged as error:
            said = re.split(r"\. (?:Pass|Ask) ", str(error))[0]
            raise ThetadotError(f"{said}. {self.grid.advice}") from error
        return self._joined(begun, found)

    def rows(self, trajectory: Trajectory) -> list[SceneRow]:
        """The table: the scene's own lines, and the counts of an adaptive method."""
        counts = trajectory.counts
        found = list(self.setup.rows(trajectory))
        if not counts:
            return found
        stops = len({time for at in self.places.values() for time in at if time > 0})
        said = {"accepted": f"mean of the paths; {stops} end at times that are saved", "rejected": "mean of the paths"}
        found += [
            SceneRow(f"steps {name} by a path", float(counts[name].double().mean()), None, said[name]) for name in said
        ]
        short, long = float(counts["shortest"].min()), float(counts["longest"].max())
        if long > 0:
            source = "of those that no saved time cut short"
            found += [SceneRow("shortest step", short, None, source), SceneRow("longest step", long, None, source)]
        return found

    @property
    def _copies(self) -> int | None:
        """How often the initial point is to be copied; None where there are as many as wanted."""
        initial = self.setup.initial
        position = initial if isinstance(initial, torch.Tensor) else initial[POSITION]
        rows = 1 if position.ndim == 1 else len(position)
        if rows not in (1, self.settings.paths):
            raise InadmissibleValue(
                f"paths={self.settings.paths} with an initial state of {rows} paths do not go together. "
                f"Pass {argument('paths', rows)}, or one initial point."
            )
        return self.settings.paths

    def _left(self, begun: Trajectory | None) -> dict[str, tuple[float, ...]]:
        """Times at which schedules have still to save: of each, those that it has not."""
        had = {} if begun is None else {name: len(series.times) for name, series in begun.series.items()}
        left = {name: at[had.get(name, 0) :] for name, at in self.places.items()}
        return {name: at for name, at in left.items() if at}

    def _joined(self, before: Trajectory | None, after: Trajectory) -> Trajectory:
        """Both parts as one, at the times of an uninterrupted simulation."""
        series: dict[str, Series] = {}
        for name, at in self.places.items():
            found = [each.series[name] for each in (before, after) if each is not None and name in each.series]
            parts = [part for part in found if len(part.times)] or found[:1]
            series[name] = Series(
                torch.tensor(at[: sum(len(part.times) for part in parts)], dtype=torch.float64),
                torch.cat([part.values for part in parts]),
                {each: torch.cat([part.variables[each] for part in parts]) for each in parts[0].variables},
            )
        return replace(after, series=series, end=replace(after.end, time=self.grid.nearest(after.end.time)))

    def _few(self, _: float, variables: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Position and then the other variables of the first paths: (few, dim·variables)."""
        return torch.cat([variables[POSITION][:FEW], *(v[:FEW] for n, v in variables.items() if n != POSITION)], -1)

    def _energy(self, _: float, variables: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Mean loss, and mean of |η|²/2 where there is a velocity."""
        motion = self.setup.motion
        assert isinstance(motion, Problem)  # noqa: S101 - only then is it saved
        means = [motion.potential(variables[POSITION]).mean()]
        if "velocity" in variables:
            means.append((variables["velocity"] ** 2).sum(-1).mean() / 2.0)
        return torch.stack(means)


def _band(_: float, variables: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """5, 25, 50, 75, 95 percent and the mean of each coordinate: (dim, 6)."""
    position = variables[POSITION][:, :_MOST_NAMED]
    ordered = position.sort(0).values  # torch.quantile takes 16 million numbers at most
    places = torch.tensor(SHARES, dtype=torch.float64) * (len(ordered) - 1)
    low = places.floor().long()
    part = (places - low).to(ordered.dtype).reshape(-1, *(1,) * (ordered.dim() - 1))
    between = ordered[low].lerp(ordered[places.ceil().long()], part)
    return torch.cat((between, position.mean(0, keepdim=True))).T
