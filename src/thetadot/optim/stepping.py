"""One stage of a step: the rows of every group, and how they are run.

A group is gathered once: while the same parameters have gradients and nothing but numbers changes, its compiled pass
is repeated without looking at every tensor again.
"""

from __future__ import annotations

import operator
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from thetadot.optim.launch import Launch, launch
from thetadot.optim.measures import measure
from thetadot.optim.move import Move, Settings
from thetadot.optim.programs import arrays
from thetadot.optim.rows import Row, Sweep
from thetadot.optim.shards import gradient_of, is_sharded, local, place, refuse_sparse
from thetadot.optim.states import first_state, variables
from thetadot.random import derive
from thetadot.tensors import accumulation_dtype, real_view

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from thetadot.optim.flow import Flow
    from thetadot.systems.base import System

    Group = dict[str, Any]


class Stepping:
    """Runs the stages of an optimizer's steps; holds nothing but what can be gathered again.

    It is handed the optimizer and does not hold it: an optimizer that nobody needs is freed at once.
    """

    def __init__(self) -> None:
        self.launches: dict[tuple[int, int], Launch] = {}
        self.settings: dict[int, list[Any]] = {}
        self.states: list[dict[str, Any]] = []

    def forget(self) -> None:
        """Gather anew: parameters or state were exchanged."""
        self.launches.clear()
        self.settings.clear()
        self.states.clear()

    def run(self, flow: Flow, stage: int, loss: Any = None) -> None:
        """Move every parameter that has a gradient."""
        self._check(flow)
        if not torch.compiler.is_compiling() and not self._same_states(flow):
            self.launches.clear()
        key = self._key(flow)
        first = 0
        for number, group in enumerate(flow.param_groups):
            if not self._repeat(flow, number, group, stage, key):
                self._gather(flow, number, group, stage, key, first, loss)
            first += len(group["params"])
        self.states = list(flow.state.values())

    def rows(self, flow: Flow, stage: int, loss: Any = None) -> list[Row]:
        """Every parameter that has a gradient, with everything that moves it."""
        found: list[Row] = []
        key, first = self._key(flow), 0
        for group in flow.param_groups:
            found += self._rows(flow, group, stage, key, first, loss)
            first += len(group["params"])
        return found

    def _check(self, flow: Flow) -> None:
        """Settings that were changed since the last step, before anything moves; tensors are not waited for."""
        if torch.compiler.is_compiling():
            return
        for number, group in enumerate(flow.param_groups):
            settings = [value for value in group.values() if isinstance(value, float | int | str)]
            settings += [group["betas"]] if "betas" in group else []
            if settings != self.settings.get(number):
                flow.check(group)
                self.settings[number] = settings

    def _same_states(self, flow: Flow) -> bool:
        """Whether the optimizer keeps the dictionaries that it kept after the last stage."""
        states = flow.state.values()
        return len(states) == len(self.states) and all(map(operator.is_, states, self.states))

    def _key(self, flow: Flow) -> int | Tensor:
        """The noise's, of this step; a tensor where the step may be captured, so that the count is not frozen."""
        if not flow.noise.draws:
            return 0
        return derive(flow.noise.key, flow.ticks if self._captured(flow) else flow.steps)

    def _captured(self, flow: Flow) -> bool:
        return flow.options.capturable or torch.compiler.is_compiling()

    def _repeat(self, flow: Flow, number: int, group: Group, stage: int, key: int | Tensor) -> bool:
        """Run the group's last launch again, if it fits."""
        last = self.launches.get((number, stage))
        if last is None or torch.compiler.is_compiling():
            return False
        params = group["params"]
        gradients = [p.grad for p in params]
        _, sweep = self._prepare(flow, group, stage, key)
        if not last.fits(again := sweep(params[0]), params, gradients):
            return False
        last(again, cast("list[Tensor]", gradients))
        return True

    def _gather(
        self, flow: Flow, number: int, group: Group, stage: int, key: int | Tensor, first: int, loss: Any
    ) -> None:
        self._require_dense(flow)
        alike: dict[tuple[Any, ...], list[Row]] = {}
        for row in self._rows(flow, group, stage, key, first, loss):
            alike.setdefault((id(row.sweep), row.fresh, arrays(row)), []).append(row)
        self.launches.pop((number, stage), None)
        for rows in alike.values():
            done = launch(rows, flow.options.compile)
            if done is not None and done.repeatable and _lasting(rows, group["params"]):
                self.launches[number, stage] = done

    def _require_dense(self, flow: Flow) -> None:
        """Before anything is begun."""
        for index, p in enumerate(p for group in flow.param_groups for p in group["params"]):
            refuse_sparse(index, p)

    def _prepare(
        self, flow: Flow, group: Group, stage: int, key: int | Tensor
    ) -> tuple[System, Callable[[Tensor], Sweep]]:
        """The group's system, and what makes the sweep of a parameter."""
        system, step = flow.motion(group)
        scales = flow.integrator.prepare(system, step)
        decay, memory = group["weight_decay"], group["averaging"]
        settings = Settings(decay, 1.0 - group["lr"] * decay, 0.0 if memory is None else memory)
        none = isinstance(decay, (float, int)) and decay == 0

        def sweep(p: Tensor) -> Sweep:
            move = Move(
                integrator=flow.integrator,
                stage=stage,
                maximize=group["maximize"],
                decay="none" if none else group["weight_decay_mode"],
                averaging=memory is not None,
                storage=real_view(p).dtype,
                wide=accumulation_dtype(real_view(p)),
                low_precision=flow.options.low_precision,
            )
            _, numbers = variables(flow, p, group, system)
            return Sweep(move, scales, settings, key, frozenset(numbers), flow.options.differentiable)

        return system, sweep

    def _rows(self, flow: Flow, group: Group, stage: int, key: int | Tensor, first: int, loss: Any) -> Iterator[Row]:
        moving = [(index, p) for index, p in enumerate(group["params"], first) if p.grad is not None]
        if not moving:
            return
        gradients = [real_view(gradient_of(index, p).resolve_conj()) for index, p in moving]
        system, sweep_of = self._prepare(flow, group, stage, key)
        sweeps: dict[torch.dtype, Sweep] = {}
        for (_, p), gradient in zip(moving, gradients, strict=True):
            if p.dtype not in sweeps:
                sweeps[p.dtype] = sweep_of(p)
            names, _ = variables(flow, p, group, system)
            if not names.issubset(flow.state.get(p, {})):  # also what a setting that was changed has called for
                begun = first_state(flow, p, group, gradient, sweeps[p.dtype].scales, sweeps[p.dtype])
                flow.state[p] = begun | flow.state.get(p, {})
        forces = [_force(p, g, sweeps[p.dtype]) for (_, p), g in zip(moving, gradients, strict=True)]
        descended = -loss if group["maximize"] and loss is not None else loss  # climbing L is descending -L
        measured = measure(system, forces, descended, partial(self._number, flow))
        for (index, p), gradient, given in zip(moving, gradients, measured, strict=True):
            theta, state = real_view(p), flow.state[p]
            fresh = () if any(_is_set(state[name]) for name in system.scalars) else tuple(system.scalars)
            yield Row(sweeps[p.dtype], index, local(theta), local(gradient), state, place(theta), given, fresh)

    def _number(self, flow: Flow, value: Tensor) -> float | Tensor:
        """On the CPU a Python number; elsewhere, or where the step may be captured, a tensor that nothing waits for."""
        if value.device.type == "cpu" and not self._captured(flow) and not flow.options.differentiable:
            return float(value)
        return value


def _lasting(rows: list[Row], params: list[Tensor]) -> bool:
    """Whether ``rows`` are all of the group's parameters, themselves and not views made for this step."""
    return (
        len(rows) == len(params)
        and all(row.parameter is p and p.is_contiguous() for row, p in zip(rows, params, strict=True))
        and not any(is_sharded(value) for row in rows for value in row.state.values())
    )


def _is_set(number: float | Tensor) -> bool:
    return isinstance(number, Tensor) or number != 0


def _force(p: Tensor, gradient: Tensor, sweep: Sweep) -> Callable[[], Tensor]:
    return lambda: sweep.move.force(sweep.settings, gradient, real_view(p))
