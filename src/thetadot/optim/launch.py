r"""Rows run as one compiled pass over memory; without a compiler, block by block in torch's combined operations.

The compiled pass gives the bits of the rule run plainly in torch's operations; blocks give them to rounding. Which
way is taken is a function of options, shapes and the presence of a compiler only.
"""

from __future__ import annotations

import logging
import operator
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from thetadot.fusion import Array, Blocks, Kernel, flatten, structure, trace
from thetadot.fusion.kernel import HEAD
from thetadot.fusion.numbers import rebuild
from thetadot.fusion.program import NUMBER, CannotCompile
from thetadot.optim import inductor
from thetadot.optim.rows import Row, Sweep, step_plainly
from thetadot.optim.shards import local
from thetadot.random import derive, normal
from thetadot.systems.base import POSITION

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from thetadot.fusion.program import Program
    from thetadot.optim.options import Compile

log = logging.getLogger("thetadot")

GRADIENT = "gradient"
_FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
_GRADIENT_COLUMN = len(HEAD) + 1
_TENSORS = {Tensor}
_address = Tensor.data_ptr


def launch(rows: Sequence[Row], compiled: Compile) -> Launch | None:
    """Step ``rows``, which share one sweep; the compiled launch that did it, if it did all of it.

    Raises:
        CannotCompile: compile=True or "inductor", and it cannot be.
    """
    elsewhere = compiled == "inductor" or (compiled is not False and rows[0].parameter.device.type == "cuda")
    able, rest = _split(rows, inductor.able if elsewhere else _able)
    done = None
    if able and compiled is not False:
        try:
            if elsewhere:
                inductor.step(able)
            else:
                done = Launch(able)
                done(able[0].sweep, [row.gradient for row in able])
            able = []
        except CannotCompile as error:
            if compiled != "auto":
                raise
            _say_once(str(error))
    if able and not elsewhere:
        able = _step_in_blocks(able)
    rest += able
    step_plainly(rest)
    return None if rest else done


def _split(rows: Sequence[Row], able: Callable[[Row], bool]) -> tuple[list[Row], list[Row]]:
    yes: list[Row] = []
    no: list[Row] = []
    for row in rows:
        (yes if able(row) else no).append(row)
    return yes, no


@cache
def _say_once(why: str) -> None:
    log.warning("steps run in torch's own operations: %s", why)


def _able(row: Row) -> bool:
    """Whether its memory can be walked through: on the CPU, all of it in one order."""
    p, sweep = row.parameter, row.sweep
    numbers = sweep.numbers
    arrays = [p, row.gradient, *(local(value) for name, value in row.state.items() if name not in numbers)]
    quiet = not (sweep.key or sweep.move.rounds)
    placed = quiet or (isinstance(row.index, int) and p.is_contiguous())  # an element's noise is that of its place
    return (
        not sweep.keep
        and not row.fresh
        and placed
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
        self.kinds = {(first.gradient.dtype, torch.strided)}
        self.names = [name for name in first.state if name not in sweep.numbers]
        self.numbers = [name for name in first.state if name in sweep.numbers]
        arrays = _arrays(first)
        own = (*self.numbers, *first.measured)
        self.kernel = _once(("kernel", *_key(first)), lambda: _compile(sweep, arrays, own))
        self.kept = self._state_tensors()
        self.addresses = self._addresses()
        self.table = np.zeros((len(rows), len(HEAD) + len(arrays)), dtype=np.int64)
        self.table[:, : len(HEAD)] = [
            (row.parameter.numel(), row.index if isinstance(row.index, int) else 0, row.number) for row in rows
        ]  # where elements lie apart in the whole, nothing is drawn
        self.table[:, len(HEAD)] = self.addresses[: len(rows)]
        for column in range(len(self.names)):
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
            and {(gradient.dtype, gradient.layout) for gradient in gradients} == self.kinds
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


def _arrays(row: Row) -> tuple[Array, ...]:
    names = [name for name in row.state if name not in row.sweep.numbers]
    return (
        Array(POSITION, row.parameter.dtype),
        Array(GRADIENT, row.gradient.dtype),
        *(Array(name, local(row.state[name]).dtype) for name in names),
    )


def _own(row: Row) -> tuple[str, ...]:
    return (*(name for name in row.state if name in row.sweep.numbers), *row.measured)


def _key(row: Row) -> tuple[Hashable, ...]:
    """All that a program depends on: everything but numbers."""
    return row.sweep.move, structure(row.sweep.scales), _arrays(row), _own(row)


_Made = TypeVar("_Made")
_made: dict[Hashable, Any] = {}


def _once(key: Hashable, make: Callable[[], _Made]) -> _Made:
    """What ``make`` gives, made once in a process; or what it raised."""
    if key not in _made:
        try:
            _made[key] = make()
        except CannotCompile as error:
            _made[key] = error
    if isinstance(_made[key], CannotCompile):
        raise _made[key]
    return _made[key]  # type: ignore[no-any-return]


def _shared(sweep: Sweep) -> tuple[str, ...]:
    return tuple(f"s{i}" for i in range(len(flatten((sweep.scales, sweep.settings)))))


def _compile(sweep: Sweep, arrays: tuple[Array, ...], own: tuple[str, ...]) -> Kernel:
    shared = _shared(sweep)
    program = _program(sweep, arrays, shared, own)
    name = f"{type(sweep.move.integrator).__name__} for {str(sweep.move.storage).removeprefix('torch.')}"
    return Kernel(program, arrays, shared, own, sweep.move.stage, name)


def _step_in_blocks(rows: Sequence[Row]) -> list[Row]:
    """Step what can be; the rows that cannot."""
    rest: list[Row] = []
    made: dict[tuple[torch.dtype, bool], Blocks | None] = {}
    shared: dict[str, float] = {}
    for row in rows:
        sweep = row.sweep
        kind = (row.gradient.dtype, row.parameter.is_contiguous())
        if kind not in made:
            shared = dict(zip(_shared(sweep), map(float, flatten((sweep.scales, sweep.settings))), strict=True))
            made[kind] = _blocks(row) if kind[1] else None
        blocks = made[kind]
        if blocks is None:
            rest.append(row)
            continue
        state, numbers = row.state, sweep.numbers
        arrays = {POSITION: row.parameter, GRADIENT: row.gradient}
        own = {}
        for name, value in state.items():
            if name in numbers:
                own[name] = float(value)
            else:
                arrays[name] = local(value)
        own |= {name: float(value) for name, value in row.measured.items()}
        for name, value in blocks(shared | own, arrays, _drawer(row)).items():
            if isinstance(state[name], Tensor):
                state[name].fill_(value)
            else:
                state[name] = value
    return rest


def _blocks(row: Row) -> Blocks | None:
    sweep = row.sweep
    try:
        return _once(("blocks", *_key(row)), lambda: Blocks(_program(sweep, _arrays(row), _shared(sweep), _own(row))))
    except CannotCompile:
        return None


def _drawer(row: Row) -> Callable[[str, Tensor, int], Tensor]:
    sweep = row.sweep

    def draw(name: str, like: Tensor, start: int) -> Tensor:
        key = derive(sweep.key, row.number, sweep.move.stage, int(name.removeprefix("draw")))
        return normal(like, key, sweep.move.wide, int(row.index) + start)

    return draw


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
