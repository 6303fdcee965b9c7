r"""Rows run as one compiled pass over memory, where that pays; in torch's own operations elsewhere.

Both ways give the same bits: which one runs is a matter of speed alone, and a function of options and shapes only.
"""

from __future__ import annotations

import logging
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

ENOUGH = 1 << 16
"""Elements of one group from which on a compiled pass pays: below, torch's operations take less than a compilation."""

GRADIENT = "gradient"
_FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
_GRADIENT_COLUMN = len(HEAD) + 1


def launch(rows: Sequence[Row], compiled: Compile) -> Launch | None:
    """Step ``rows``, which share one sweep; the launch that did it, to be repeated, if it was a compiled one.

    Raises:
        CannotCompile: compile=True, and it cannot be.
    """
    able, rest = [], []
    if compiled is not False:
        for row in rows:
            (able if _able(row) else rest).append(row)
    else:
        rest = list(rows)
    if able and (compiled is True or sum(row.parameter.numel() for row in able) >= ENOUGH):
        try:
            done = Launch(able)
        except CannotCompile as error:
            if compiled is True:
                raise
            _say_once(str(error))
        else:
            done(able[0].sweep, [row.gradient for row in able])
            step_plainly(rest)
            return None if rest else done
    step_plainly(rows)
    return None


@cache
def _say_once(why: str) -> None:
    log.warning("steps run in torch's own operations: %s", why)


def _able(row: Row) -> bool:
    """Whether a kernel can be handed addresses: plain memory on the CPU, all in one order."""
    tensors = [
        row.parameter,
        row.gradient,
        *(local(value) for value in row.state.values() if isinstance(value, Tensor)),
    ]
    arrays = [tensor for tensor in tensors if tensor.shape == row.parameter.shape and tensor.dim() > 0]
    scalar = row.parameter.dim() == 0
    return (
        not row.sweep.keep
        and not scalar
        and isinstance(row.index, int)
        and row.parameter.device.type == "cpu"
        and not torch.compiler.is_compiling()
        and all(type(t) in (Tensor, torch.nn.Parameter) and t.is_contiguous() and t.dtype in _FLOATS for t in arrays)
        and not any(t.is_neg() for t in arrays)
    )


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
        shape = first.parameter.shape
        self.names = [n for n, v in first.state.items() if isinstance(v, Tensor) and local(v).shape == shape]
        self.numbers = [name for name in first.state if name not in self.names]
        arrays = (
            Array(POSITION, first.parameter.dtype),
            Array(GRADIENT, first.gradient.dtype),
            *(Array(name, local(first.state[name]).dtype) for name in self.names),
        )
        own = (*self.numbers, *first.measured)
        key = (sweep.move, self.scales, arrays, own)
        self.kernel = kernel_of(key, lambda: _compile(sweep, arrays, own))
        self.addresses = self._addresses()
        self.table = np.array(
            [
                (row.parameter.numel(), row.index, row.number, place[0], 0, *place[1:])
                for row, place in zip(rows, self.addresses, strict=True)
            ],
            dtype=np.int64,
        )
        self.own = np.zeros((len(rows), len(own)))
        self.out = np.zeros((len(rows), len(self.kernel.numbers)))

    def _addresses(self) -> list[tuple[int, ...]]:
        names = self.names
        return [
            (p.data_ptr(), *[local(state[name]).data_ptr() for name in names])
            for p, state in zip(self.parameters, self.states, strict=True)
        ]

    def fits(self, sweep: Sweep, parameters: Sequence[Tensor], gradients: Sequence[Any]) -> bool:
        """Whether it may be repeated: the same rule on the same memory, with gradients laid out as before."""
        dtype = self.sweep.move.storage
        return (
            sweep.move == self.sweep.move
            and structure(sweep.scales) == self.scales
            and len(parameters) == len(self.parameters)
            and all(
                type(g) is Tensor and g.dtype is dtype and g.is_contiguous() and g.layout is torch.strided
                for g in gradients
            )
            and self._addresses() == self.addresses
        )

    def __call__(self, sweep: Sweep, gradients: Sequence[Tensor]) -> None:
        """Step."""
        self.table[:, _GRADIENT_COLUMN] = [gradient.data_ptr() for gradient in gradients]
        shared = np.array([float(number) for number in flatten((sweep.scales, sweep.settings))])
        count = len(self.numbers)
        if count:
            self.own[:, :count] = [[float(state[name]) for name in self.numbers] for state in self.states]
        if self.own.shape[1] > count:
            self.own[:, count:] = [[float(value) for value in given.values()] for given in self.measured]
        key = int(sweep.key)
        self.kernel(self.table, shared, self.own, self.out, key)
        torch.autograd.graph.increment_version(self.parameters)
        for name, values in zip(self.kernel.numbers, self.out.T.tolist(), strict=True):
            for state, value in zip(self.states, values, strict=True):
                old = state[name]
                if isinstance(old, Tensor):
                    local(old).fill_(value)
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
