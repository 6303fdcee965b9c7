"""One stage of a step: the rows of every group, and their execution.

A group is gathered once: while the same parameters have gradients and nothing but numbers changes, its compiled pass
is repeated without looking at every tensor again.
"""

from __future__ import annotations

import operator
from types import NoneType
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from thetadot.core.rng import derive
from thetadot.core.tensors import accumulation_dtype, real_view
from thetadot.fusion.nested_numbers import apart
from thetadot.optim.engine.gathered import Launch, StepNumbers
from thetadot.optim.engine.launch import launch
from thetadot.optim.engine.measures import mean_loss_of_ranks, measure, of_squares
from thetadot.optim.engine.move import Decay, FrameNumbers, Move
from thetadot.optim.engine.programs import row_arrays
from thetadot.optim.engine.rows import ParamRow, Sweep
from thetadot.optim.engine.shards import is_sharded, local, place, refuse_sparse, sharded_gradient
from thetadot.optim.engine.states import first_state, variables
from thetadot.optim.groups import own_settings

if TYPE_CHECKING:
    from thetadot.optim.engine.host import Host
    from thetadot.systems.base import System

    Group = dict[str, Any]


_TENSORS = (Tensor, torch.nn.Parameter)
_PLAIN = {Tensor, NoneType}
_PYTHONS = {float, int, bool, str, NoneType}


class GroupTerms(NamedTuple):
    """System, scales and settings of one group in one step.

    Attributes:
        system: what moves.
        scales: the integrator's scalars.
        settings: the frame's numbers.
        decay: how weight decay acts.
    """

    system: System
    scales: Any
    settings: FrameNumbers
    decay: Decay


class StepRunner:
    """Runs the stages of an optimizer's steps; holds nothing but what can be gathered again.

    It is handed the optimizer and does not hold it: an optimizer that nobody needs is freed at once.
    """

    def __init__(self) -> None:
        self.launches: dict[tuple[int, int], tuple[Any, Launch]] = {}
        self.settings: dict[int, tuple[list[Any], list[type]]] = {}
        self.paces: dict[int, tuple[GroupTerms, tuple[Any, ...], list[float]]] = {}
        self.states: list[dict[str, Any]] = []

    def forget(self) -> None:
        """Gather anew: parameters or state were exchanged."""
        self.launches.clear()
        self.settings.clear()
        self.paces.clear()
        self.states.clear()

    def run(self, host: Host, stage: int, loss: Any = None) -> None:
        """Move every parameter that has a gradient."""
        repeating = not torch.compiler.is_compiling()
        if repeating:
            self._check(host)
            if not self._same_states(host):
                self.launches.clear()
        key = self._key(host)
        first = 0
        for number, group in enumerate(host.param_groups):
            if not (repeating and self._repeat(host, number, group, stage, key, loss)):
                self._gather(host, number, group, stage, key, first, loss)
            first += len(group["params"])
        self.states = list(host.state.values())

    def rows(self, host: Host, stage: int, loss: Any = None) -> list[ParamRow]:
        """Build a row for every parameter that has a gradient."""
        self._check(host)
        found: list[ParamRow] = []
        key, first = self._key(host), 0
        for group in host.param_groups:
            found += self._rows(host, group, stage, key, first, loss)
            first += len(group["params"])
        return found

    def _check(self, host: Host) -> None:
        """FrameNumbers that were changed since the last step, before anything moves; tensors are not waited for."""
        for number, group in enumerate(host.param_groups):
            settings = [value for value in map(group.get, host.defaults) if type(value) not in _TENSORS]
            settings += host.integrator, host.options
            kinds = [*map(type, settings)]  # numpy's numbers equal Python's
            if (settings, kinds) != self.settings.get(number):
                self.paces.pop(number, None)
                if not _PYTHONS.issuperset(map(type, map(group.get, host.defaults))):
                    group.update(own_settings(group, set()))  # numpy's numbers, from a schedule of theirs
                host.check(group)
                self.settings[number] = settings, kinds

    def _paced(self, host: Host, number: int, group: Group) -> tuple[GroupTerms, tuple[Any, ...], list[float]]:
        """Return a group's pace, frame and numbers, recomputed when a setting has changed."""
        if number in self.paces:
            return self.paces[number]
        numbers: list[Any] = []
        pace = self._pace(host, group)
        frame = _frame(host, group, pace, numbers)
        found = pace, frame, [*map(float, numbers)]
        if host.system is None and getattr(host.motion, "of_settings", False) and not _tensors_in(numbers, group):
            self.paces[number] = found
        return found

    def _same_states(self, host: Host) -> bool:
        """Whether the optimizer keeps the dictionaries that it kept after the last stage."""
        states = host.state.values()
        return len(states) == len(self.states) and all(map(operator.is_, states, self.states))

    def _key(self, host: Host) -> int | Tensor:
        """The noise's, of this step; a tensor where the step may be captured, so that the count is not frozen."""
        if not host.noise.draws:
            return 0
        return derive(host.noise.key, host.ticks if self._captured(host) else host.steps)

    def _captured(self, host: Host) -> bool:
        return host.options.capturable or torch.compiler.is_compiling()

    def _repeat(self, host: Host, number: int, group: Group, stage: int, key: int | Tensor, loss: Any) -> bool:
        """Run the group's last launch again, if it fits."""
        if (number, stage) not in self.launches:
            return False
        made_for, last = self.launches[number, stage]
        pace, frame, numbers = self._paced(host, number, group)
        if frame != made_for:
            return False
        params = group["params"]
        gradients = [p.grad for p in params]
        kinds = set(map(type, gradients))
        if NoneType in kinds:
            params = [p for p, gradient in zip(params, gradients, strict=True) if gradient is not None]
            gradients = [gradient for gradient in gradients if gradient is not None]
        addresses = last.addresses(params, gradients) if kinds <= _PLAIN else None
        if addresses is None:
            return False
        measured: dict[str, Any] = {}
        if pace.system.measures:
            if "loss" in pace.system.measures:
                measured["loss"] = mean_loss_of_ranks(pace.system, _descended(group, loss))
            if last.squares is not None:
                measured |= of_squares(pace.system, last.squares(numbers, addresses), last.gradients.sizes)
        last.run(StepNumbers(numbers, int(key), measured), gradients, addresses)
        return True

    def _gather(
        self, host: Host, number: int, group: Group, stage: int, key: int | Tensor, first: int, loss: Any
    ) -> None:
        self._require_dense(host)
        alike: dict[tuple[Any, ...], list[ParamRow]] = {}
        rows = self._rows(host, group, stage, key, first, loss)
        for row in rows:
            alike.setdefault((id(row.sweep), row.fresh, row_arrays(row)), []).append(row)
        self.launches.pop((number, stage), None)
        for some in alike.values():
            done = launch(some, host.options.compile)
            if done is not None and done.repeatable and len(some) == len(rows) and _lasting(some, group["params"]):
                self.launches[number, stage] = _frame(host, group, self._pace(host, group), []), done

    def _require_dense(self, host: Host) -> None:
        """Refuse sparse gradients before anything is begun."""
        for index, p in enumerate(p for group in host.param_groups for p in group["params"]):
            refuse_sparse(index, p)

    def _pace(self, host: Host, group: Group) -> GroupTerms:
        system, step = host.motion(group)
        decay, memory = group["weight_decay"], group["averaging"]
        settings = FrameNumbers(decay, 1.0 - group["lr"] * decay, 0.0 if memory is None else memory)
        none = isinstance(decay, (float, int)) and decay == 0
        return GroupTerms(
            system, host.integrator.prepare(system, step), settings, "none" if none else group["weight_decay_mode"]
        )

    def _sweep(self, host: Host, group: Group, stage: int, key: int | Tensor, pace: GroupTerms, p: Tensor) -> Sweep:
        """Build the settings shared by rows of one dtype."""
        move = Move(
            integrator=host.integrator,
            stage=stage,
            maximize=group["maximize"],
            decay=pace.decay,
            averaging=group["averaging"] is not None,
            storage=real_view(p).dtype,
            wide=accumulation_dtype(real_view(p)),
            low_precision=host.options.low_precision,
        )
        _, numbers = variables(host, p, group, pace.system)
        return Sweep(move, pace.scales, pace.settings, key, frozenset(numbers), host.options.differentiable)

    def _rows(self, host: Host, group: Group, stage: int, key: int | Tensor, first: int, loss: Any) -> list[ParamRow]:
        moving = [(index, p) for index, p in enumerate(group["params"], first) if p.grad is not None]
        if not moving:
            return []
        gradients = [real_view(sharded_gradient(index, p).resolve_conj()) for index, p in moving]
        pace = self._pace(host, group)
        system = pace.system
        sweeps: dict[torch.dtype, Sweep] = {}
        for (_, p), gradient in zip(moving, gradients, strict=True):
            if p.dtype not in sweeps:
                sweeps[p.dtype] = self._sweep(host, group, stage, key, pace, p)
            names, _ = variables(host, p, group, system)
            if not names.issubset(host.state.get(p, {})):  # also what a setting that was changed has called for
                begun = first_state(host, p, group, gradient, pace.scales, sweeps[p.dtype])
                host.state[p] = begun | host.state.get(p, {})
        rows = []
        for (index, p), gradient in zip(moving, gradients, strict=True):
            theta, state = real_view(p), host.state[p]
            fresh = () if any(_is_set(state[name]) for name in system.scalars) else tuple(system.scalars)
            rows.append(ParamRow(sweeps[p.dtype], index, local(theta), local(gradient), state, place(theta), {}, fresh))
        if system.measures:
            # on the CPU Python's numbers; elsewhere, or where a step may be captured, tensors that nothing waits for
            floats = gradients[0].device.type == "cpu" and not (self._captured(host) or host.options.differentiable)
            whole = [(p, gradient) for (_, p), gradient in zip(moving, gradients, strict=True)]
            measure(system, rows, whole, _descended(group, loss), host.options.compile, floats=floats)
        return rows


def _frame(host: Host, group: Group, pace: GroupTerms, numbers: list[Any]) -> tuple[Any, ...]:
    """All that a launch was made for beside memory; the numbers that it is given are added to ``numbers``."""
    system = pace.system
    return (
        host.integrator,
        host.options,
        type(system),
        system.variables,
        system.scalars,
        system.measures,
        pace.decay,
        group["maximize"],
        group["averaging"] is None,
        apart(pace.scales, numbers),
        apart(pace.settings, numbers),
    )


def _tensors_in(numbers: list[Any], group: Group) -> bool:
    """Whether a number may move without being set."""
    values = [*numbers, *group.values(), *group.get("betas", ())]
    return any(issubclass(kind, Tensor) for kind in set(map(type, values)))


def _descended(group: Group, loss: Any) -> Any:
    """Climbing L is descending -L."""
    return -loss if group["maximize"] and loss is not None else loss


def _lasting(rows: list[ParamRow], params: list[Tensor]) -> bool:
    """Whether ``rows`` are the group's moving parameters, themselves and not views made for this step."""
    moving = [p for p in params if p.grad is not None]
    return all(row.parameter is p and p.is_contiguous() for row, p in zip(rows, moving, strict=True)) and not any(
        is_sharded(value) for row in rows for value in row.state.values()
    )


def _is_set(number: float | Tensor) -> bool:
    return isinstance(number, Tensor) or number != 0
