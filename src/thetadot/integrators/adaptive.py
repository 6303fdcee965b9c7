r"""Runge-Kutta steps whose length follows the error, for every path by itself.

    e = rms( γ Σ (b_i - b̂_i) k_i / (atol + rtol max(|x|, |x'|)) ),    accepted where e <= 1

The embedded result b̂ of a tableau gives the error; a controller the next step. Paths do not wait for each other's
tolerances: steps, acceptance and errors are (paths, 1), so that a stiff path slows no other (it is only counted with
them: all paths are evaluated together until the last has arrived, those that have with steps of 0). Times that are
asked for are met exactly, by shortening a step; the length that was meant is remembered.

Where the tableau hands its last slope over, that slope is the next step's first: Dormand-Prince costs six evaluations
a step, accepted or not. The error per step, not per unit of time, is held; global errors go roughly with rtol.

Source:
    Dormand, Prince (1980); Hairer, Norsett, Wanner, "Solving Ordinary Differential Equations I" (1993), II.4.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, NoReturn

import torch

from thetadot.errors import Diverged, InadmissibleValue, IncompatiblePair, NotConverged, require
from thetadot.integrators.base import name_of, require_noiseless
from thetadot.integrators.controller import Controller
from thetadot.integrators.runge_kutta import combined, moving, slopes
from thetadot.integrators.tableaus import BOGACKI_SHAMPINE, DORMAND_PRINCE, Tableau
from thetadot.kinds import require_instances, require_numbers, require_whole
from thetadot.systems.base import POSITION, PerStep
from thetadot.tensors import tensor_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch import Tensor

    from thetadot.systems.base import System
    from thetadot.typing import Scalar, State

_ROUNDINGS = 16.0  # a step of fewer roundings of the time it starts from is none


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


@dataclass(frozen=True)
class Embedded:
    """What methods with an error estimate share.

    Args:
        rtol: relative tolerance >= 0 of a step.
        atol: absolute tolerance > 0 of a step, in the position's units; also of every further variable.
        controller: of the step.
        first_step: > 0, or None to find one for each path, at the cost of one evaluation.
        most_steps: bound of the steps tried by a path, from start to end; None for none.

    Raises:
        InadmissibleValue: a number out of range.
    """

    rtol: float = 1e-6
    atol: float = 1e-9
    controller: Controller = field(default_factory=Controller)
    first_step: float | None = None
    most_steps: int | None = None

    tableau: ClassVar[Tableau]
    carried: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        infinity = float("inf")
        require_numbers(rtol=self.rtol, atol=self.atol)
        require_instances(Controller, controller=self.controller)
        require(0 <= self.rtol < infinity, f"rtol={self.rtol:g}", "is negative or not finite", "Pass rtol >= 0.")
        require(0 < self.atol < infinity, f"atol={self.atol:g}", "is not positive", "Pass atol > 0, such as 1e-9.")
        if self.first_step is not None:
            require_numbers(first_step=self.first_step)
            said = f"first_step={self.first_step:g}"
            require(0 < self.first_step < infinity, said, "is not positive", "Pass first_step > 0, or None.")
        if self.most_steps is not None:
            require_whole(most_steps=self.most_steps)
            said = f"most_steps={self.most_steps}"
            require(self.most_steps >= 1, said, "allows no step", "Pass most_steps >= 1, or None for no bound.")

    @property
    def order(self) -> int:
        """The tableau's."""
        return self.tableau.order

    @property
    def local_order(self) -> int:
        """The power of the step that the error estimate is."""
        return min(self.tableau.order, self.tableau.embedded_order) + 1

    def prepare(self, system: System, step: Scalar) -> NoReturn:  # noqa: ARG002 - it takes none
        """Refuse a step: the method finds its own."""
        raise IncompatiblePair(
            f"{name_of(self)} chooses the steps of {name_of(system)} itself and takes none. "
            f"Use RungeKutta({self.tableau}) for steps of one length, or simulate() for its own."
        )


@dataclass(frozen=True)
class DormandPrince(Embedded):
    """Order 5, error estimate of order 4: six evaluations a step.

    Example:
        >>> from thetadot.systems import ODE
        >>> one = {"position": torch.ones(1, 1, dtype=torch.float64)}
        >>> run = controlled(DormandPrince(rtol=1e-9), ODE(lambda x: -x), None, one, 0.0, [1.0])
        >>> abs(float(run.states[0]["position"]) - 0.36787944117144233) < 1e-9
        True
    """

    tableau: ClassVar[Tableau] = DORMAND_PRINCE


@dataclass(frozen=True)
class BogackiShampine(Embedded):
    """Order 3, error estimate of order 2: three evaluations a step; for tolerances above 1e-3."""

    rtol: float = 1e-3
    atol: float = 1e-6

    tableau: ClassVar[Tableau] = BOGACKI_SHAMPINE


class Controlled(NamedTuple):
    """What a controlled motion gives.

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
        Exhausted: more than ``most_steps`` steps.
    """
    ends = [float(time) for time in times]
    sign = 1.0 if not ends or ends[-1] >= start else -1.0
    if any(sign * (b - a) < 0 or b - a != b - a for a, b in zip([start, *ends], ends, strict=False)):
        raise InadmissibleValue(
            f"times={ends} from start={start:g} are not in order. Pass them increasing, from start on."
        )
    run = Controlling(integrator, system, gradient, state, start, sign)
    return Controlled([dict(run.until(end)) for end in ends], run.accepted, run.rejected, run.evaluations)


def require_timed(integrator: Embedded, system: System) -> None:
    """Raise IncompatiblePair where noise acts on the system, or it counts by steps or by measured numbers."""
    require_noiseless(integrator, system)
    fields: tuple[Any, ...] = dataclasses.fields(system) if dataclasses.is_dataclass(system) else ()
    names: list[str] = [each.name for each in fields]
    counted = [name for name in names if isinstance(getattr(system, name), PerStep)]
    counted += [name.replace("_", " ") for name in system.measures]
    if counted:
        raise IncompatiblePair(
            f"{name_of(integrator)} takes steps of any length, and {name_of(system)} has {', '.join(counted)}, counted "
            "by steps. Use rates in 1/time, or RungeKutta with steps of one length."
        )


class Controlling:
    """One motion under way, for who wants its states one after the other.

    Every attribute is a tensor of one number a path, or a state.

    Attributes:
        state: where the paths are.
        time: when, (paths, 1).
        length: step meant next, > 0.
        first: slopes at the state, per unit of time.
        errors: of the last three accepted steps.
        shortest, longest: steps taken, beside those that a time asked for cut short; inf and 0 where there are none.
    """

    def __init__(
        self,
        integrator: Embedded,
        system: System,
        gradient: Callable[[Tensor], Tensor] | None,
        state: State,
        start: float,
        sign: float,
        memory: Mapping[str, Tensor] | None = None,
    ) -> None:
        require_timed(integrator, system)
        position = tensor_of(state, POSITION)
        one = torch.ones_like(position[..., :1])
        self.integrator, self.system, self.gradient, self.sign = integrator, system, gradient, sign
        known = memory or {}
        # clocks become tensors: every path has its own; a narrow one would stop
        self.state: State = {
            name: known.get(f"number_{name}", value * one.double()) if name in system.scalars else value
            for name, value in state.items()
            if name in moving(system)
        }
        self.measured = [name for name in moving(system) if name not in system.scalars]
        self.clocks = [name for name in self.state if name not in self.measured]
        self.time, self.one = start * one.double(), one
        self.evaluations = 0
        none = torch.zeros_like(one, dtype=torch.int64)
        self.accepted, self.rejected = known.get("accepted", none), known.get("rejected", none)
        self.first = self._slopes(self.state)
        for said, given in (("state", self.state), (f"drift of {name_of(system)}", self.first)):
            if not bool(self._finite(given).all()):
                path = int((~self._finite(given)).reshape(-1).nonzero()[0])
                raise InadmissibleValue(
                    f"the {said} is not finite on path {path} at the start, time {start:g}. Begin where it is finite."
                )
        self.errors = (known.get("error_1", one), known.get("error_2", one), known.get("error_3", one))
        self.held_back = known.get("held_back", torch.zeros_like(one, dtype=torch.bool))
        self.shortest = known.get("shortest", torch.full_like(self.time, torch.inf))
        self.longest = known.get("longest", torch.zeros_like(self.time))
        self.length = known["length"] if "length" in known else self._first_length(one).double()
        tableau = integrator.tableau
        embedded = tableau.embedded or tableau.weights
        self.rows = [[float(entry) for entry in row] for row in tableau.matrix]
        self.weights = [float(weight) for weight in tableau.weights]
        self.distance = [float(b - other) for b, other in zip(tableau.weights, embedded, strict=True)]

    @property
    def memory(self) -> dict[str, Tensor]:
        """All that the next steps depend on beside state and time, (paths, 1) each: given back, they are the same."""
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

    def until(self, end: float) -> State:
        """Every path's state at ``end``."""
        while True:
            left = self.sign * (end - self.time)
            under_way = left > 0
            if not bool(under_way.any()):
                return self.state
            self._check_bound(under_way)
            self._try(left, under_way, end)

    def _try(self, left: Tensor, under_way: Tensor, end: float) -> None:
        """One step of every path that is under way, taken where its error allows."""
        arrives = self.length >= left
        length = torch.where(arrives, left, self.length)
        new, last, error = self._step(self.sign * length)
        good = (error <= 1.0) & self._finite(new)
        error = torch.where(self._finite(new), error, torch.inf)
        factor = self.integrator.controller.factor((error, *self.errors[:2]), self.integrator.local_order)
        factor = torch.where(good & ~self.held_back, factor, factor.clamp(max=1.0))
        # a step that was cut short to arrive says little against the length that was meant
        meant = torch.where(good & arrives, torch.maximum(self.length, factor * length), factor * length)
        taken = under_way & good
        self.state = _where(taken, new, self.state)
        self.first = _where(taken, last if last is not None else self._slopes(self.state), self.first)
        self.time = torch.where(taken, torch.where(arrives, end, self.time + self.sign * length), self.time)
        self.errors = tuple(  # type: ignore[assignment]
            torch.where(taken, now, before) for now, before in zip((error, *self.errors), self.errors, strict=False)
        )
        self.length = torch.where(under_way, meant, self.length)
        self.held_back = torch.where(under_way, ~good, self.held_back)
        free = taken & ~arrives
        self.shortest = torch.where(free, torch.minimum(self.shortest, length), self.shortest)
        self.longest = torch.where(free, torch.maximum(self.longest, length), self.longest)
        self.accepted = self.accepted + taken
        self.rejected = self.rejected + (under_way & ~good)
        smallest = _ROUNDINGS * torch.finfo(self.time.dtype).eps * torch.maximum(self.time.abs(), left)
        self._check_length(under_way & ~(taken & arrives) & (self.length <= smallest))

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

    def _moved(self, along: list[State], shares: list[float], step: Tensor) -> State:
        """From the state along slopes: clocks in their own dtype, all else in the position's."""
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

    def _check_length(self, stuck: Tensor) -> None:
        for path, time, length in self._named(stuck):
            raise Stalled(
                f"path {path} gets no further than time {time:.9g}: its step fell to {length:.3g}, below the rounding "
                "of time. The motion ends there, or is not finite or not smooth. Ask for times before it; or, where "
                "tolerances are below the state's own rounding, pass larger ones or float64.",
                self.state,
                self.time,
            )

    def _check_bound(self, under_way: Tensor) -> None:
        most = self.integrator.most_steps
        if most is None:
            return
        for path, time, length in self._named(under_way & (self.accepted + self.rejected >= most)):
            raise Exhausted(
                f"path {path} has tried most_steps={most} steps and is at time {time:.9g}, with steps of {length:.3g}. "
                "Pass a larger most_steps or None, or larger tolerances.",
                self.state,
                self.time,
            )

    def _named(self, where: Tensor) -> Iterator[tuple[Any, float, float]]:
        """The first path there: its number, time and step."""
        if bool(where.any()):
            flat = int(where.reshape(-1).nonzero()[0])
            yield flat, float(self.time.reshape(-1)[flat]), float(self.length.reshape(-1)[flat])


def _where(condition: Tensor, yes: State, no: State) -> State:
    return {name: torch.where(condition, tensor_of(yes, name), tensor_of(no, name)) for name in no}
