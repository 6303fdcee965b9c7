r"""How rows are run: in one compiled pass over memory; without a compiler, block by block in torch's operations.

The compiled pass gives the bits of the rule run plainly in torch's operations; blocks give them to rounding. Which
way is taken is a function of options, shapes and the presence of a compiler only.
"""

from __future__ import annotations

import logging
import operator
from abc import ABC, abstractmethod
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from thetadot.fusion import Blocks, Kernel
from thetadot.fusion.draws import Places
from thetadot.fusion.kernel import HEAD
from thetadot.fusion.program import CannotCompile
from thetadot.optim import inductor
from thetadot.optim.measures import SQUARES, kernel_of
from thetadot.optim.memory import Gradients, Kept, walkable
from thetadot.optim.programs import arrays, once, own, program_of, shared
from thetadot.optim.rows import Row, step_plainly
from thetadot.optim.shards import local
from thetadot.random import derive
from thetadot.systems.base import POSITION

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from thetadot.fusion.blocks import Batch
    from thetadot.optim.move import Move
    from thetadot.optim.options import Compile

log = logging.getLogger("thetadot")

_GRADIENT_COLUMN = len(HEAD) + 1


class Step(NamedTuple):
    """The numbers of one stage of a step.

    Attributes:
        numbers: the integrator's and the frame's, as :func:`programs.shared` has them.
        key: of its noise.
        measured: what the rule needs and does not keep: a number, or a list of one a row.
    """

    numbers: Sequence[float]
    key: int
    measured: Mapping[str, Any]


def step_of(rows: Sequence[Row]) -> Step:
    """Of rows that have been gathered."""
    sweep = rows[0].sweep
    measured = {name: [row.measured[name] for row in rows] for name in rows[0].measured}
    return Step(list(shared(sweep).values()), int(sweep.key), measured)


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
        done.run(step_of(able), [row.gradient for row in able])
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
    """Whether its memory can be walked through."""
    p, sweep = row.parameter, row.sweep
    if torch.compiler.is_compiling() or sweep.keep:
        return False
    kept = [local(value) for name, value in row.state.items() if name not in sweep.numbers]
    placed = not sweep.draws or (isinstance(row.index, int) and p.is_contiguous())
    return placed and walkable(p, row.gradient, *kept)


class Launch(ABC):
    """Rows gathered for one way of running them; can be repeated while nothing but gradients and numbers changes.

    Args:
        rows: of one sweep, each fit for it.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        first = rows[0]
        self.sweep = first.sweep
        self.fresh = first.fresh
        self.measures = SQUARES & first.measured.keys()
        self.places = [(row.number, _first(row)) for row in rows]
        self.states = [row.state for row in rows]
        self.parameters = [row.parameter for row in rows]
        self.names = [name for name in first.state if name not in first.sweep.numbers]
        self.numbers = own(first)
        self.kept = [[local(state[name]) for state in self.states] for name in self.names]
        self.memory = Kept([*self.parameters, *(tensor for tensors in self.kept for tensor in tensors)])
        self.gradients = Gradients([row.gradient for row in rows])

    @property
    def repeatable(self) -> bool:
        """Whether it holds all that the next step needs: no memories that were empty, and sums of its own."""
        return not self.fresh and (self.can_square or not self.measures)

    can_square = False

    def addresses(self, parameters: Sequence[Tensor], gradients: Sequence[Any]) -> list[int] | None:
        """The gradients', if it may be repeated: on the same memory, with gradients laid out as before; else None.

        That the state is kept in the same dictionaries has been seen to.

        Args:
            parameters: those that have a gradient.
            gradients: theirs.
        """
        if len(parameters) != len(self.parameters) or not all(map(operator.is_, parameters, self.parameters)):
            return None
        found = self.gradients.addresses(gradients)
        try:
            same = found is not None and all(
                all(map(operator.is_, map(operator.itemgetter(name), self.states), tensors))
                for name, tensors in zip(self.names, self.kept, strict=True)
            )
        except KeyError:  # a state was emptied
            return None
        return found if same and self.memory.unchanged() else None

    @abstractmethod
    def squares(self, numbers: Sequence[float], addresses: Sequence[int]) -> list[float]:
        """Σ g² of every row's gradient, as the rule takes it."""

    @abstractmethod
    def run(self, step: Step, gradients: Sequence[Tensor], addresses: Sequence[int] | None = None) -> None:
        """Step.

        Args:
            step: its numbers.
            gradients: of the rows.
            addresses: theirs, if known.
        """


class _Compiled(Launch):
    """Rows as a kernel's table."""

    def __init__(self, rows: Sequence[Row]) -> None:
        super().__init__(rows)
        first, count = rows[0], len(rows)
        self.kernel = once("kernel", first, lambda: _compile(first))
        self.table = np.zeros((count, len(HEAD) + 2 + len(self.names)), dtype=np.int64)
        self.table[:, : len(HEAD)] = [
            (size, index, number) for size, (number, index) in zip(self.gradients.sizes, self.places, strict=True)
        ]
        columns = [len(HEAD), *range(_GRADIENT_COLUMN + 1, self.table.shape[1])]  # the parameter's, then the state's
        for place, column in enumerate(columns):
            self.table[:, column] = self.memory.addresses[place * count : (place + 1) * count]
        self.shared = np.zeros(len(shared(first.sweep)))
        self.own = np.zeros((count, len(self.numbers)))
        self.out = np.zeros((count, len(self.kernel.numbers)))
        self.again = self.kernel.on(self.table, self.shared, self.own, self.out)
        self.sums = kernel_of(first).on(self.table, self.shared) if self.measures else None

    @property
    def can_square(self) -> bool:  # type: ignore[override]
        """Whether its rule measures any."""
        return self.sums is not None

    def squares(self, numbers: Sequence[float], addresses: Sequence[int]) -> list[float]:
        """Σ g² of every row, by one kernel."""
        self.shared[:] = numbers
        self.table[:, _GRADIENT_COLUMN] = addresses
        found: list[float] = cast("Any", self.sums)().tolist()
        return found

    def run(self, step: Step, gradients: Sequence[Tensor], addresses: Sequence[int] | None = None) -> None:
        """Step."""
        self.table[:, _GRADIENT_COLUMN] = list(map(Tensor.data_ptr, gradients)) if addresses is None else addresses
        self.shared[:] = step.numbers
        states = self.states
        for column, name in enumerate(self.numbers):
            given = step.measured.get(name)
            self.own[:, column] = [state[name] for state in states] if given is None else given
        self.again(step.key)
        torch.autograd.graph.increment_version(self.parameters)
        for column, name in enumerate(self.kernel.numbers):
            values = self.out[:, column].tolist()
            for state, value in zip(states, values, strict=True):
                if type(state[name]) is float:
                    state[name] = value
                else:
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
    """Rows in combined operations: small ones at once, as lists; large ones block by block.

    Raises:
        CannotCompile: the rule converts between dtypes.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        super().__init__(rows)
        first = rows[0]
        if not all(row.parameter.is_contiguous() for row in rows):
            raise CannotCompile("memory in another order is left to plain operations.")
        self.shared = tuple(shared(first.sweep))
        self.blocks = once("blocks", first, lambda: Blocks(program_of(first)))
        if not self.blocks.takes_lists:
            raise CannotCompile("an operation knows no lists.")
        self.batches: list[tuple[Batch, Noise]] = []
        self.apart = False

    def _cut(self, *, apart: bool) -> None:
        """Cut rows into batches; apart, where they have numbers of their own."""
        if self.batches and apart == self.apart:
            return
        tensors = [*zip(self.parameters, *self.kept, strict=True)]
        batches = self.blocks.batches(tensors, [POSITION, *self.names], **{"together": 0} if apart else {})
        self.batches = [(batch, Noise(batch, self.places, self.sweep.move)) for batch in batches]
        self.apart = apart

    def squares(self, numbers: Sequence[float], addresses: Sequence[int]) -> list[float]:
        """Not by blocks."""
        raise NotImplementedError

    def run(self, step: Step, gradients: Sequence[Tensor], addresses: Sequence[int] | None = None) -> None:  # noqa: ARG002
        """Step."""
        columns = [self._column(name, step.measured) for name in self.numbers]
        mine = [tuple(map(float, numbers)) for numbers in zip(*columns, strict=True)] or [()] * len(self.states)
        self._cut(apart=len(set(mine)) > 1)
        common = dict(zip(self.shared, step.numbers, strict=True))
        prepared: dict[tuple[float, ...], tuple[dict[str, Any], list[Any]]] = {}
        names = [name for _, name in self.blocks.draws]
        place = self.blocks.arrays.index(POSITION)
        for batch, noise in self.batches:
            own = mine[batch.members[0].row]
            if own not in prepared:
                prepared[own] = self.blocks.prepare(common | dict(zip(self.numbers, own, strict=True)))
            self.blocks.run_batch(
                batch, gradients, prepared[own][1], noise.drawn(step.key, names, batch.arguments[place])
            )
        for state, own in zip(self.states, mine, strict=True):
            for name, value in prepared[own][0].items():
                _keep(state, name, value)

    def _column(self, name: str, measured: Mapping[str, Any]) -> list[Any]:
        """A number of every row."""
        if name not in measured:
            return [state[name] for state in self.states]
        given = measured[name]
        return given if isinstance(given, list) else [given] * len(self.states)


class Noise:
    """The noise of a batch's blocks, drawn at once.

    Args:
        batch: the blocks.
        places: of the rows: the parameter's number, and the index of its first element in the whole.
        move: the rule.
    """

    def __init__(self, batch: Batch, places: Sequence[tuple[int, int]], move: Move) -> None:
        self._members, self._move = batch.members, move
        self._given = [places[member.row] for member in batch.members]
        self._places: Places | None = None

    def drawn(self, key: int, names: Sequence[str], like: Sequence[Tensor]) -> dict[str, list[Tensor]]:
        """A standard normal tensor a block, by name of the draw."""
        if not names:
            return {}
        if self._places is None:
            begins = [index + member.start for (_, index), member in zip(self._given, self._members, strict=True)]
            self._places = Places(begins, [member.end - member.start for member in self._members])
        numbers = np.array([number for number, _ in self._given], dtype=np.int64)
        found = {}
        for name in names:
            keys = derive(key, cast("Any", numbers), self._move.stage, int(name.removeprefix("draw")))
            normals = self._places.normals(keys)
            found[name] = [z.view(part.shape).to(self._move.wide) for z, part in zip(normals, like, strict=True)]
        return found
