r"""Steps that follow the error under way, in torch's operations: all paths at once, each with its own.

Paths are evaluated together until the last has arrived, those that have with steps of 0, so that a drift may hold
parameters by path, or be learned. Where it couples them they also take their steps together: a drift of paths at
different times is none. Where it can be taken apart, :mod:`thetadot.simulation.controlled`
marches the same steps compiled.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch

from thetadot.core.failures import answering
from thetadot.core.tensors import tensor_of
from thetadot.errors import InadmissibleValue
from thetadot.integrators.adaptive import require_timed
from thetadot.integrators.base import name_of
from thetadot.integrators.controller import FLOOR
from thetadot.integrators.endless import Guarded
from thetadot.integrators.pace import WINDOW, StepPace
from thetadot.integrators.runge_kutta import combined, moving, slopes
from thetadot.systems.base import POSITION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from thetadot.core.annotations import State
    from thetadot.integrators.adaptive import Embedded
    from thetadot.systems.base import System

ROUNDINGS = 16.0
"""A step of fewer roundings of the time it starts from is none."""
_BOUNDLESS = float(1 << 62)


class Controlled(NamedTuple):
    """Result of a motion with error-controlled steps.

    Attributes:
        states: at the times asked for.
        accepted: steps taken by each path, (paths, 1), int64.
        rejected: steps tried in vain.
        evaluations: of the drift, on all paths together.
    """

    states: list[State]
    accepted: Tensor
    rejected: Tensor
    evaluations: int


@answering
def controlled(
    integrator: Embedded,
    system: System,
    gradient: Callable[[Tensor], Tensor] | None,
    state: State,
    start: float,
    times: Sequence[float],
) -> Controlled:
    """The motion at ``times``, each met exactly by every path.

    Args:
        integrator: the method, its tolerances and controller.
        system: what moves, without noise and with rates in 1/time.
        gradient: ∇L of positions; None for a system with a drift of its own.
        state: position (paths, dim) and every variable, at ``start``.
        start: time of it.
        times: increasing from start on, or decreasing: then the motion runs backwards.

    Raises:
        IncompatiblePair: noise acts on the system, or it counts by steps or by measured numbers.
        InadmissibleValue: times that are not in order, or a state that is not finite.
        Stalled: a path's step fell below the rounding of time, because the motion ends or is not finite there.
        Exhausted: more than ``most_steps`` steps, or a pace at which a path would never arrive.
    """
    start, ends = float(start), [float(time) for time in times]
    if not all(math.isfinite(time) for time in (start, *ends)):
        raise InadmissibleValue(f"times={ends} from start={start:g} are not finite. Pass times that can be met.")
    sign = 1.0 if not ends or ends[-1] >= start else -1.0
    if any(sign * (b - a) < 0 for a, b in zip([start, *ends], ends, strict=False)):
        raise InadmissibleValue(
            f"times={ends} from start={start:g} are not in order. Pass them increasing, from start on."
        )
    run = Controlling(integrator, system, gradient, state, start, sign, end=ends[-1] if ends else None)
    return Controlled([dict(run.until(end)) for end in ends], run.accepted, run.rejected, run.evaluations)


class Controlling(Guarded):
    """One error-controlled motion in progress, which yields its states in sequence.

    Every attribute is a tensor of one number a path, or a state.

    Attributes:
        state: where the paths are.
        time: when, (paths, 1).
        length: step meant next, > 0.
        first: slopes at the state, per unit of time.
        errors: of the last three accepted steps.
        shortest, longest: steps taken, beside those that a time asked for cut short; inf and 0 where there are none.
        together: whether paths take their steps together, by the largest of their errors.
        engine: what it is called.
        patience: steps that a path whose motion is at fault may still need by its pace: minutes.
    """

    engine: ClassVar[str] = "plain"
    patience: ClassVar[float] = 2e5

    def __init__(
        self,
        integrator: Embedded,
        system: System,
        gradient: Callable[[Tensor], Tensor] | None,
        state: State,
        start: float,
        sign: float,
        memory: Mapping[str, Tensor] | None = None,
        end: float | None = None,
        *,
        together: bool = False,
    ) -> None:
        require_timed(integrator, system)
        position = tensor_of(state, POSITION)
        one = torch.ones_like(position[..., :1])
        self.integrator, self.system, self.gradient, self.sign, self.end = integrator, system, gradient, sign, end
        known, self.together = memory or {}, together
        # clocks become tensors: every path has its own; a narrow one would stop
        self.state: State = {
            name: known.get(f"number_{name}", value * one.double()) if name in system.scalars else value
            for name, value in state.items()
            if name in moving(system)
        }
        self.measured = [name for name in moving(system) if name not in system.scalars]
        self.clocks = [name for name in self.state if name not in self.measured]
        self.time, self.one = start * one.double(), one
        self.evaluations, self._rounds = 0, 0
        none = torch.zeros_like(one, dtype=torch.int64)
        self.accepted, self.rejected = known.get("accepted", none), known.get("rejected", none)
        self.errors = (known.get("error_1", one), known.get("error_2", one), known.get("error_3", one))
        self.held_back = known.get("held_back", torch.zeros_like(one, dtype=torch.bool))
        self.shortest = known.get("shortest", torch.full_like(self.time, torch.inf))
        self.longest = known.get("longest", torch.zeros_like(self.time))
        self._pace = StepPace(self.time, self.tried)
        self.rows, self.weights, self.distance = integrator.tableau.floats
        self._begin(known.get("length"))
        for said, given in (("state", self.state), (f"drift of {name_of(system)}", self.first)):
            if not bool(self._finite(given).all()):
                path = int((~self._finite(given)).reshape(-1).nonzero()[0])
                raise InadmissibleValue(
                    f"the {said} is not finite on path {path} at the start, time {start:g}. Begin where it is finite."
                )

    def _begin(self, length: Tensor | None) -> None:
        """The slopes at the state, and the first step where it is not known."""
        self.first = self._slopes(self.state)
        self.length = self._first_length(self.one).double() if length is None else length
        self._share_length()

    @property
    def tried(self) -> Tensor:
        """Steps tried by every path."""
        return self.accepted + self.rejected

    @property
    def memory(self) -> dict[str, Tensor]:
        """Everything besides state and time that decides the next steps, (paths, 1) each."""
        first, second, third = self.errors
        numbers = {f"number_{name}": tensor_of(self.state, name) for name in self.state if name in self.system.scalars}
        return numbers | {
            "length": self.length,
            "held_back": self.held_back,
            "error_1": first,
            "error_2": second,
            "error_3": third,
            "accepted": self.accepted,
            "rejected": self.rejected,
            "shortest": self.shortest,
            "longest": self.longest,
        }

    @property
    def columns(self) -> dict[str, Tensor]:
        """Per-path numbers besides variables and slopes, (paths, 1) each."""
        first, second, third = self.errors
        return {
            "time": self.time,
            "length": self.length,
            "error_1": first,
            "error_2": second,
            "error_3": third,
            "shortest": self.shortest,
            "longest": self.longest,
            "accepted": self.accepted,
            "rejected": self.rejected,
            "held_back": self.held_back,
        }

    def until(self, end: float) -> State:
        """Return every path's state at ``end``."""
        while True:
            left = self.sign * (end - self.time)
            under_way = left > 0
            if not bool(under_way.any()):
                return self.state
            self._check_bound(under_way)
            self._try(left, under_way, end)
            self._rounds += 1
            if self._rounds % WINDOW == 0:
                self._check_pace(end)

    def _try(self, left: Tensor, under_way: Tensor, end: float) -> None:
        """One step of every path that is under way, taken where its error allows."""
        arrives = self.length >= left
        length = torch.where(arrives, left, self.length)
        new, last, error = self._step(self.sign * length)
        error = torch.where(self._finite(new), error, torch.inf)
        if self.together:
            error = error.max() * torch.ones_like(error)
        good = error <= 1.0
        factor = self.integrator.controller.factor((error, *self.errors[:2]), self.integrator.local_order)
        factor = torch.where(good & ~self.held_back, factor, factor.clamp(max=1.0))
        # a step that was cut short to arrive says little against the length that was meant
        meant = torch.where(good & arrives, torch.maximum(self.length, factor * length), factor * length)
        taken = under_way & good
        self.state = _where_each(taken, new, self.state)
        self.first = _where_each(taken, last if last is not None else self._slopes(self.state), self.first)
        self.time = torch.where(taken, torch.where(arrives, end, self.time + self.sign * length), self.time)
        self.errors = tuple(  # type: ignore[assignment]
            torch.where(taken, now, before) for now, before in zip((error, *self.errors), self.errors, strict=False)
        )
        self.length = torch.where(under_way, meant, self.length)
        self._share_length()
        self.held_back = torch.where(under_way, ~good, self.held_back)
        free = taken & ~arrives
        self.shortest = torch.where(free, torch.minimum(self.shortest, length), self.shortest)
        self.longest = torch.where(free, torch.maximum(self.longest, length), self.longest)
        self.accepted = self.accepted + taken
        self.rejected = self.rejected + (under_way & ~good)
        self._check_length(under_way & ~(taken & arrives) & self._stuck())

    def _share_length(self) -> None:
        """To the bit: equal errors may be raised to a power with another last digit."""
        if self.together:
            self.length = self.length.min() * torch.ones_like(self.length)

    def _stuck(self) -> Tensor:
        """Where the next step is none."""
        return self.length <= ROUNDINGS * torch.finfo(self.time.dtype).eps * self.time.abs()

    def _step(self, step: Tensor) -> tuple[State, State | None, Tensor]:
        """Result, slopes there if the tableau hands them over, and the error."""
        along = [self.first]
        here = self.state
        for row in self.rows[1:]:
            here = self._moved(along, row, step)
            along.append(self._slopes(here))
        over = self.integrator.tableau.hands_over
        new = here if over else self._moved(along, self.weights, step)
        step = step.to(self.one.dtype)
        zero: State = {name: torch.zeros_like(tensor_of(self.state, name)) for name in self.measured}
        tensors = [{name: slope[name] for name in self.measured} for slope in along]
        away = combined(zero, tensors, [d * step if d else 0.0 for d in self.distance])
        return new, along[-1] if over else None, self._norm(away, new)

    def _moved(self, along: list[State], shares: Sequence[float], step: Tensor) -> State:
        """Move the state along slopes, clocks in their own dtype and all else in the dtype of the position."""
        moved: State = {}
        for names, length in ((self.measured, step.to(self.one.dtype)), (self.clocks, step)):
            parts = [{name: slope[name] for name in names} for slope in along]
            own: State = {name: self.state[name] for name in names}
            moved |= combined(own, parts, [share * length if share else 0.0 for share in shares])
        return {name: moved[name] for name in self.state}

    def _slopes(self, state: State) -> State:
        self.evaluations += 1
        position = tensor_of(state, POSITION)
        force = position if self.gradient is None else self.gradient(position)  # a drift of its own uses none
        rates = slopes(self.system, state, force, 1.0)
        return {
            name: rate.detach() if isinstance(rate, torch.Tensor) else rate * self.one for name, rate in rates.items()
        }

    def _norm(self, away: State, new: State) -> Tensor:
        """Root mean square over all that moves, in units of the tolerance, (paths, 1)."""
        squares = []
        for name in self.measured:
            size = torch.maximum(tensor_of(self.state, name).abs(), tensor_of(new, name).abs())
            ratio = tensor_of(away, name) / (self.integrator.atol + self.integrator.rtol * size)
            squares.append((ratio * ratio).mean(-1, keepdim=True))
        return torch.stack(squares).mean(0).sqrt()

    def _finite(self, state: State) -> Tensor:
        return torch.stack([tensor_of(state, n).isfinite().all(-1, keepdim=True) for n in self.measured]).all(0)

    def _first_length(self, one: Tensor) -> Tensor:
        """Hairer's guess: an Euler step of a hundredth of the state, then one that the curvature allows."""
        if self.integrator.first_step is not None:
            return self.integrator.first_step * one
        size, speed = (self._norm(each, self.state) for each in (self.state, self.first))
        tiny = (size < 1e-5) | (speed < 1e-5)
        guess = torch.where(tiny, 1e-6, 0.01 * size / speed)
        there = combined(self.state, [self.first], [self.sign * guess])
        turned: State = {
            name: tensor_of(slope_there, name) - tensor_of(self.first, name)
            for slope_there in (self._slopes(there),)
            for name in self.measured
        }
        bend = torch.maximum(self._norm(turned, self.state) / guess, speed)
        power = 1.0 / self.integrator.local_order
        flat = torch.maximum(1e-3 * guess, 1e-6 * one)
        allowed = torch.where(bend <= 1e-15, flat, (0.01 / bend) ** power)
        return torch.minimum(100.0 * guess, allowed).nan_to_num(1e-6, 1e-6, 1e-6)


def _where_each(condition: Tensor, yes: State, no: State) -> State:
    return {name: torch.where(condition, tensor_of(yes, name), tensor_of(no, name)) for name in no}


def kernel_settings(rule: Embedded, end: float, sign: float, tries: int) -> tuple[float, ...]:
    """Numbers that a kernel is called with (:mod:`thetadot.fusion.controlled_parts`), to carry on to ``end``."""
    q, own = rule.local_order, rule.controller
    roundings = ROUNDINGS * torch.finfo(torch.float64).eps
    bound = _BOUNDLESS if rule.most_steps is None else rule.most_steps
    return (
        rule.rtol, rule.atol, own.safety, own.least, own.most, *(-gain / q for gain in own.gains), FLOOR, q, roundings,
        end, sign, tries, bound,
    )  # fmt: skip
