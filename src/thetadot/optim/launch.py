r"""Rows run as one compiled pass over memory, where that pays; in torch's own operations elsewhere.

Both ways give the same bits: which one runs is a matter of speed alone, and a function of options and shapes only.
"""

from __future__ import annotations

import logging
import operator
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from thetadot.fusion import Array, Kernel, flatten, kernel_of, structure, trace
from thetadot.fusion.kernel import HEAD
from thetadot.fusion.numbers import rebuild
from thetadot.fusion.program import NUMBER, CannotCompile
from thetadot.optim.rows import Row, Sweep, local, step_plainly
from thetadot.systems.base import POSITION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from thetadot.fusion.program import Program
    from thetadot.optim.options import Compile

log = logging.getLogger("thetadot")

GRADIENT = "gradient"
_FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
_GRADIENT_COLUMN = len(HEAD) + 1
_TENSORS = {Tensor}
_address = Tensor.data_ptr


def launch(rows: Sequence[Row], compiled: Compile) -> Launch | None:
    """Step ``rows``, which share one sweep; the launch that did it, if it did all of it and can be repeated.

    Raises:
        CannotCompile: compile=True, and it cannot be.
    """
    able: list[Row] = []
    rest: list[Row] = []
    for row in rows:
        (able if compiled is not False and _able(row) else rest).append(row)
    if able:
        try:
            done = Launch(able)
        except CannotCompile as error:
            if compiled is True:
                raise
            _say_once(str(error))
            able, rest = [], list(rows)
        else:
            done(able[0].sweep, [row.gradient for row in able])
    step_plainly(rest)
    return done if able and not rest else None


@cache
def _say_once(why: str) -> None:
    log.warning("steps run in torch's own operations: %s", why)


def _able(row: Row) -> bool:
    """Whether a kernel can be handed addresses: plain memory on the CPU, all of it in one order."""
    p, sweep = row.parameter, row.sweep
    numbers = sweep.numbers
    arrays = [p, row.gradient, *(local(value) for name, value in row.state.items() if name not in numbers)]
    ordered = p.is_contiguous() or not (sweep.key or sweep.move.rounds)  # an element's noise is that of its place
    return (
        not sweep.keep
        and not row.fresh
        and ordered
        and isinstance(row.index, int)
        and not torch.compiler.is_compiling()
        and all(map(_plain, arrays))
        and (all(map(Tensor.is_contiguous, arrays)) or _alike(arrays))
    )


def _plain(x: Tensor) -> bool:
    return type(x) in (Tensor, torch.nn.Parameter) and x.device.type == "cpu" and x.dtype in _FLOATS and not x.is_neg()


def _alike(arrays: Sequence[Tensor]) -> bool:
    """Whether all lie in memory without gaps in the same order, as channels-last weights do."""
    strides = arrays[0].stride()
    return all(array.stride() == strides for array in arrays) and torch.ops.aten.is_non_overlapping_and_dense(arrays[0])


class Launch:
    """Rows as the kernel's table; can be repeated while nothing but gradients and numbers changes.

    Args:
        rows: of one sweep, each fit for a kernel.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        first = rows[0]
        sweep = first.sweep
        self.sweep = sweep
        self.scales = structure(sweep.scales)
        self.states = [row.state for row in rows]
        self.measured = [row.measured for row in rows]
        self.parameters = [row.parameter for row in rows]
        self.dtypes = {first.gradient.dtype}
        self.names = [name for name in first.state if name not in sweep.numbers]
        self.numbers = [name for name in first.state if name in sweep.numbers]
        arrays = (
            Array(POSITION, first.parameter.dtype),
            Array(GRADIENT, first.gradient.dtype),
            *(Array(name, local(first.state[name]).dtype) for name in self.names),
        )
        own = (*self.numbers, *first.measured)
        key = (sweep.move, self.scales, arrays, own)
        self.kernel = kernel_of(key, lambda: _compile(sweep, arrays, own))
        self.kept = self._state_tensors()
        self.addresses = self._addresses()
        columns = len(self.names)
        self.table = np.zeros((len(rows), len(HEAD) + len(arrays)), dtype=np.int64)
        self.table[:, : len(HEAD)] = [(row.parameter.numel(), row.index, row.number) for row in rows]
        self.table[:, len(HEAD)] = self.addresses[: len(rows)]
        for column in range(columns):
            begin = (column + 1) * len(rows)
            self.table[:, _GRADIENT_COLUMN + 1 + column] = self.addresses[begin : begin + len(rows)]
        self.own = np.zeros((len(rows), len(own)))
        self.out = np.zeros((len(rows), len(self.kernel.numbers)))

    def _state_tensors(self) -> list[Tensor]:
        """All tensors of the state, name by name."""
        return [local(state[name]) for name in self.names for state in self.states]

    def _addresses(self) -> list[int]:
        return [*map(_address, self.parameters), *map(_address, self.kept)]

    def fits(self, sweep: Sweep, gradients: Sequence[Any]) -> bool:
        """Whether it may be repeated: the same rule on the same memory, with gradients laid out as before.

        Args:
            sweep: of the coming stage.
            gradients: of the group's parameters, None where there is none.
        """
        return (
            len(gradients) == len(self.parameters)
            and set(map(type, gradients)) == _TENSORS
            and {gradient.dtype for gradient in gradients} == self.dtypes
            and all(map(Tensor.is_contiguous, gradients))
            and sweep.move == self.sweep.move
            and structure(sweep.scales) == self.scales
            and all(map(operator.is_, self._state_tensors(), self.kept))
            and self._addresses() == self.addresses
        )

    def __call__(self, sweep: Sweep, gradients: Sequence[Tensor]) -> None:
        """Step."""
        self.table[:, _GRADIENT_COLUMN] = list(map(_address, gradients))
        shared = np.array([float(number) for number in flatten((sweep.scales, sweep.settings))])
        states, count = self.states, len(self.numbers)
        for column, name in enumerate(self.numbers):
            self.own[:, column] = [state[name] for state in states]
        for column, name in enumerate(self.measured[0], count):
            self.own[:, column] = [given[name] for given in self.measured]
        self.kernel(self.table, shared, self.own, self.out, int(sweep.key))
        torch.autograd.graph.increment_version(self.parameters)
        for name, values in zip(self.kernel.numbers, self.out.T.tolist(), strict=True):
            for state, value in zip(states, values, strict=True):
                if isinstance(state[name], Tensor):
                    state[name].fill_(value)
                else:
                    state[name] = value


def _compile(sweep: Sweep, arrays: tuple[Array, ...], own: tuple[str, ...]) -> Kernel:
    shared = tuple(f"s{i}" for i in range(len(flatten((sweep.scales, sweep.settings)))))
    program = _program(sweep, arrays, shared, own)
    name = f"{type(sweep.move.integrator).__name__} for {str(sweep.move.storage).removeprefix('torch.')}"
    return Kernel(program, arrays, shared, own, sweep.move.stage, name)


def _program(sweep: Sweep, arrays: tuple[Array, ...], shared: tuple[str, ...], own: tuple[str, ...]) -> Program:
    """The rule in its frame, traced."""
    names = [array.name for array in arrays if array.name != GRADIENT]

    def body(given: Mapping[str, Any]) -> dict[str, Any]:
        drawn = 0

        def draw() -> Any:
            nonlocal drawn
            drawn += 1
            return given[f"draw{drawn}"].to(sweep.move.wide)

        numbers = iter([given[name] for name in shared])
        scales, settings = rebuild((sweep.scales, sweep.settings), numbers)
        state = {name: given[name] for name in (*names, *own)}
        new = sweep.move(scales, settings, state, given[GRADIENT], draw, lambda: given["words"])
        return {name: value for name, value in new.items() if value is not state[name]}

    inputs = {array.name: array.dtype for array in arrays} | dict.fromkeys((*shared, *own), NUMBER)
    return trace(body, {**inputs, "words": torch.int64})
