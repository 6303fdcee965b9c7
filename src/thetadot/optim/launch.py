r"""How rows are run: in one compiled pass over memory; without a compiler, block by block in torch's operations.

The compiled pass gives the bits of the rule run plainly in torch's operations; blocks give them to rounding. Which
way is taken is a function of options, shapes and the presence of a compiler only.
"""

from __future__ import annotations

import logging
import operator
from abc import ABC, abstractmethod
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from thetadot.fusion import Blocks, Kernel, structure
from thetadot.fusion.kernel import HEAD
from thetadot.fusion.program import CannotCompile
from thetadot.optim import inductor
from thetadot.optim.programs import arrays, once, own, program_of, shared
from thetadot.optim.rows import Row, Sweep, step_plainly
from thetadot.optim.shards import local
from thetadot.random import derive, normal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from thetadot.optim.options import Compile

log = logging.getLogger("thetadot")

_FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
_GRADIENT_COLUMN = len(HEAD) + 1
_TENSORS = {Tensor}
_address = Tensor.data_ptr


def launch(rows: Sequence[Row], compiled: Compile) -> Launch | None:
    """Step ``rows``, which share one sweep and are all fresh or all not; the launch that did all of it, if one did.

    Raises:
        CannotCompile: compile=True or "inductor", and it cannot be.
    """
    elsewhere = compiled == "inductor" or (compiled is not False and rows[0].parameter.device.type == "cuda")
    able, rest = _split(rows, inductor.able if elsewhere else _able)
    done: Launch | None = None
    try:
        if able and elsewhere:
            inductor.step(able)
        elif able and compiled is not False:
            done = _Compiled(able)
    except CannotCompile as error:
        if compiled != "auto":
            raise
        _say_once(str(error))
        if elsewhere:
            able, rest = [], list(rows)
    if able and not elsewhere and done is None:
        try:
            done = _InBlocks(able)
        except CannotCompile:
            rest = list(rows)
    if done is not None:
        done(able[0].sweep, [row.gradient for row in able])
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
    log.warning("steps are not compiled, and run block by block in torch's operations: %s", why)


def _able(row: Row) -> bool:
    """Whether its memory can be walked through: on the CPU, all of it in one order."""
    p, sweep = row.parameter, row.sweep
    tensors = [p, row.gradient, *(local(value) for name, value in row.state.items() if name not in sweep.numbers)]
    placed = not sweep.draws or (isinstance(row.index, int) and p.is_contiguous())
    return (
        not torch.compiler.is_compiling()
        and not sweep.keep
        and placed
        and all(_plain(tensor) and tensor.shape == p.shape for tensor in tensors)
        and (all(map(Tensor.is_contiguous, tensors)) or _alike(tensors))
    )


def _plain(x: Tensor) -> bool:
    """Real memory on the CPU, of a dtype that kernels know."""
    known = type(x) in (Tensor, torch.nn.Parameter) and x.device.type == "cpu" and x.dtype in _FLOATS
    return known and not x.is_neg() and (x.data_ptr() != 0 or x.numel() == 0)  # a zero tensor may have no memory


def _alike(tensors: Sequence[Tensor]) -> bool:
    """Whether all lie in memory without gaps in the same order, as channels-last weights do."""
    strides = tensors[0].stride()
    dense = torch.ops.aten.is_non_overlapping_and_dense
    return all(tensor.stride() == strides for tensor in tensors) and dense(tensors[0])


class Launch(ABC):
    """Rows gathered for one way of running them; can be repeated while nothing but gradients and numbers changes.

    Args:
        rows: of one sweep, each fit for it.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        first = rows[0]
        self.rows = rows
        self.sweep = first.sweep
        self.scales = structure(first.sweep.scales)
        self.states = [row.state for row in rows]
        self.parameters = [row.parameter for row in rows]
        self.kinds = {(first.gradient.dtype, torch.strided)}
        self.names = [name for name in first.state if name not in first.sweep.numbers]
        self.kept = self._state_tensors()
        self.addresses = self._addresses()
        self.sizes = self._sizes()
        self.dtypes = [tensor.dtype for tensor in (*self.parameters, *self.kept)]

    @property
    def repeatable(self) -> bool:
        """Whether it holds all that the next step needs: nothing to measure, no memories that were empty."""
        first = self.rows[0]
        return not first.measured and not first.fresh

    def fits(self, sweep: Sweep, parameters: Sequence[Tensor], gradients: Sequence[Any]) -> bool:
        """Whether it may be repeated: the same rule on the same memory, with gradients laid out as before.

        That the state is kept in the same dictionaries has been seen to.

        Args:
            sweep: of the coming stage.
            parameters: the group's.
            gradients: the parameters', None where there is none.
        """
        return (
            len(parameters) == len(self.parameters)
            and all(map(operator.is_, parameters, self.parameters))
            and set(map(type, gradients)) == _TENSORS
            and {(gradient.dtype, gradient.layout) for gradient in gradients} == self.kinds
            and all(map(Tensor.is_contiguous, gradients))
            and not any(map(Tensor.is_neg, gradients))
            and all(map(_address, filter(Tensor.numel, gradients)))
            and list(map(Tensor.numel, gradients)) == self.sizes[: len(gradients)]
            and sweep.move == self.sweep.move
            and structure(sweep.scales) == self.scales
            and all(map(operator.is_, self._state_tensors(), self.kept))
            and self._addresses() == self.addresses
            and self._sizes() == self.sizes
            and all(map(Tensor.is_contiguous, (*parameters, *self.kept)))
            and [tensor.dtype for tensor in (*parameters, *self.kept)] == self.dtypes
        )

    @abstractmethod
    def __call__(self, sweep: Sweep, gradients: Sequence[Tensor]) -> None:
        """Step."""

    def _state_tensors(self) -> list[Tensor]:
        """All tensors of the state, name by name."""
        return [local(state.get(name)) for name in self.names for state in self.states]

    def _addresses(self) -> list[int]:
        return [*map(_address, self.parameters), *map(_address, self.kept)]

    def _sizes(self) -> list[int]:
        return [*map(Tensor.numel, self.parameters), *map(Tensor.numel, self.kept)]


class _Compiled(Launch):
    """Rows as a kernel's table."""

    def __init__(self, rows: Sequence[Row]) -> None:
        super().__init__(rows)
        first, count = rows[0], len(rows)
        self.numbers = own(first)
        self.kernel = once("kernel", first, lambda: _compile(first))
        self.table = np.zeros((count, len(HEAD) + 2 + len(self.names)), dtype=np.int64)
        self.table[:, : len(HEAD)] = [(row.parameter.numel(), _first(row), row.number) for row in rows]
        columns = [len(HEAD), *range(_GRADIENT_COLUMN + 1, self.table.shape[1])]  # the parameter's, then the state's
        for place, column in enumerate(columns):
            self.table[:, column] = self.addresses[place * count : (place + 1) * count]
        self.own = np.zeros((count, len(self.numbers)))
        self.out = np.zeros((count, len(self.kernel.numbers)))

    def __call__(self, sweep: Sweep, gradients: Sequence[Tensor]) -> None:
        """Step."""
        self.table[:, _GRADIENT_COLUMN] = list(map(_address, gradients))
        states = self.states
        for column, name in enumerate(self.numbers):
            measured = name in self.rows[0].measured
            self.own[:, column] = [row.measured[name] for row in self.rows] if measured else [s[name] for s in states]
        self.kernel(self.table, np.array(list(shared(sweep).values())), self.own, self.out, int(sweep.key))
        torch.autograd.graph.increment_version(self.parameters)
        for name, values in zip(self.kernel.numbers, self.out.T.tolist(), strict=True):
            if {type(state[name]) for state in states} == {float}:
                for state, value in zip(states, values, strict=True):
                    state[name] = value
            else:
                for state, value in zip(states, values, strict=True):
                    _keep(state, name, value)


def _first(row: Row) -> int:
    """The index of its first element; where it lies in pieces nothing is drawn, and none is asked for."""
    return row.index if isinstance(row.index, int) else 0


def _keep(state: dict[str, Any], name: str, value: float) -> None:
    if isinstance(state[name], Tensor):
        state[name].fill_(value)
    else:
        state[name] = value


def _compile(row: Row) -> Kernel:
    sweep = row.sweep
    name = f"{type(sweep.move.integrator).__name__} for {str(sweep.move.storage).removeprefix('torch.')}"
    return Kernel(program_of(row), arrays(row), tuple(shared(sweep)), own(row), sweep.move.stage, name)


class _InBlocks(Launch):
    """Rows one after the other in combined operations.

    Raises:
        CannotCompile: the rule converts between dtypes.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        super().__init__(rows)
        first = rows[0]
        if not all(row.parameter.is_contiguous() for row in rows):
            raise CannotCompile("memory in another order is left to plain operations.")
        self.blocks = once("blocks", first, lambda: Blocks(program_of(first)))
        self.pieces = self.blocks.pieces(
            [[row.parameter, *(local(row.state[name]) for name in self.names)] for row in rows],
            ["position", *self.names],
        )

    def __call__(self, sweep: Sweep, gradients: Sequence[Tensor]) -> None:
        """Step."""
        common, kept = shared(sweep), own(self.rows[0])
        noisy = self.blocks.draws
        before: list[Any] | None = None
        outputs: dict[str, float] = {}
        inner: list[float] = []
        for row, pieces, gradient in zip(self.rows, self.pieces, gradients, strict=True):
            mine = [float(row.measured[name] if name in row.measured else row.state[name]) for name in kept]
            if mine != before:  # rows mostly have the same numbers
                before = mine
                outputs, inner = self.blocks.prepare(common | dict(zip(kept, mine, strict=True)))
            self.blocks.run(pieces, gradient, inner, _drawer(row, sweep) if noisy else None)
            for name, value in outputs.items():
                _keep(row.state, name, value)


def _drawer(row: Row, sweep: Sweep) -> Callable[[str, Tensor, int], Tensor]:
    def draw(name: str, like: Tensor, start: int) -> Tensor:
        key = derive(sweep.key, row.number, sweep.move.stage, int(name.removeprefix("draw")))
        return normal(like, key, sweep.move.wide, int(row.index) + start)

    return draw
