"""Errors of a controlled motion that does not arrive: its step vanishes, its bound or its pace is not enough."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from thetadot.core.tensors import tensor_of
from thetadot.errors import Diverged, NotConverged
from thetadot.integrators.pace import HOPELESS, Look, StepPace, look

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from thetadot.core.annotations import State
    from thetadot.integrators.adaptive import Embedded


class Stalled(Diverged):
    """A path that no step carries on; ``state`` is the last good one, at ``times`` (paths, 1)."""

    def __init__(self, message: str, state: State, times: Tensor) -> None:
        super().__init__(message)
        self.state, self.times = state, times


class Exhausted(NotConverged):
    """A path that took more steps than allowed; ``state`` is the last good one, at ``times`` (paths, 1)."""

    def __init__(self, message: str, state: State, times: Tensor) -> None:
        super().__init__(message)
        self.state, self.times = state, times


class Guarded(ABC):
    """Checks that stop a motion under way, on what :class:`thetadot.integrators.controlling.Controlling` holds.

    Attributes:
        patience: steps that a path whose motion is at fault may still need by its pace: minutes.
    """

    patience: ClassVar[float]
    integrator: Embedded
    state: State
    time: Tensor
    length: Tensor
    sign: float
    end: float | None
    rejected: Tensor
    measured: Sequence[str]
    _pace: StepPace

    @property
    @abstractmethod
    def tried(self) -> Tensor:
        """Steps tried by every path."""

    @abstractmethod
    def _slopes(self, state: State) -> State:
        """Rates of change of every variable."""

    def _check_length(self, stuck: Tensor) -> None:
        for path, time, length in self._named(stuck):
            found = self._look(path, length)
            raise Stalled(
                f"path {path} gets no further than time {time:.9g}: its step fell to {length:.3g}, below the rounding "
                f"of time. The motion ends there, or is not finite or not smooth{_as_it_looks(found)}. Ask for times "
                "before it; or, where tolerances are below the state's own rounding, pass larger ones or float64.",
                self.state,
                self.time,
            )

    def _check_bound(self, under_way: Tensor) -> None:
        most = self.integrator.most_steps
        if most is None:
            return
        for path, time, length in self._named(under_way & (self.tried >= most)):
            found = self._look(path, length)
            raise Exhausted(
                f"path {path} has tried most_steps={most} steps and is at time {time:.9g}, with steps of {length:.3g}"
                f"{_as_it_looks(found)}. Pass a larger most_steps or None, or larger tolerances{_or(found)}.",
                self.state,
                self.time,
            )

    def _check_pace(self, end: float) -> None:
        """Raise Exhausted where a path would need more steps than anyone waits for."""
        if self.integrator.most_steps is not None:  # then the bound is one's own
            return
        goal = end if self.end is None else self.end
        known = self._pace.needed(self.time, self.tried, self.sign * (goal - self.time))
        if known is None:
            return
        needed, mean = (each.reshape(-1) for each in known)
        if not self._overdue(needed):
            return
        path = int(needed.argmax())
        most, length, tried = float(needed[path]), float(mean[path]), int(self.tried.reshape(-1)[path])
        found = self._look(path, length)
        if not found.said and most < HOPELESS:
            return
        raise Exhausted(
            f"path {path} is at time {float(self.time.reshape(-1)[path]):.9g} after {tried} steps "
            f"({int(self.rejected.reshape(-1)[path])} of them in vain), the last of them {length:.2g} long in the "
            f"mean, and needs {most:.2g} more at this pace to come to {goal:.6g}{_as_it_looks(found)}. Pass larger "
            f"tolerances or a shorter time{_or(found)}; or most_steps=, a bound of your own, to let it go on.",
            self.state,
            self.time,
        )

    def _overdue(self, needed: Tensor) -> bool:
        """Whether so many steps of each path, counted together, are minutes."""
        return float(needed.max()) > self.patience

    def _look(self, path: int, length: float) -> Look:
        """Examine one path's motion; all paths are evaluated, because they may be coupled."""
        names = self.measured
        rows = [tensor_of(self.state, name)[path] for name in names]
        widths = [row.numel() for row in rows]

        def field(place: Tensor) -> Tensor:
            moved = dict(self.state)
            for name, part in zip(names, torch.split(place, widths), strict=True):
                here = tensor_of(self.state, name).clone()
                here[path] = part
                moved[name] = here
            found = self._slopes(moved)
            parts = [tensor_of(found, name)[path].expand(n) for name, n in zip(names, widths, strict=True)]
            return self.sign * torch.cat(parts)

        place = torch.cat(rows)
        scale = self.integrator.atol + self.integrator.rtol * place.abs()
        return look(field, place, length, scale)

    def _named(self, where: Tensor) -> Iterator[tuple[Any, float, float]]:
        """The first path there: its number, time and step."""
        if bool(where.any()):
            flat = int(where.reshape(-1).nonzero()[0])
            yield flat, float(self.time.reshape(-1)[flat]), float(self.length.reshape(-1)[flat])


def _as_it_looks(found: Look) -> str:
    return f"; it looks {found.said}" if found.said else ""


def _or(found: Look) -> str:
    return f", or {found.remedy}" if found.remedy else ""
