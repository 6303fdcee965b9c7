"""Rows gathered for one way of running them, to be run again while nothing but gradients and numbers changes."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

from thetadot.optim.engine.measures import SQUARES
from thetadot.optim.engine.memory import Gradients, KeptMemory
from thetadot.optim.engine.programs import row_numbers
from thetadot.optim.engine.shards import local

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from thetadot.optim.engine.rows import ParamRow

    Squares = Callable[[Sequence[float], Sequence[int]], list[float]]


class StepNumbers(NamedTuple):
    """The numbers of one stage of a step.

    Attributes:
        numbers: the integrator's and the frame's, as :func:`programs.shared` has them.
        key: of its noise.
        measured: what the rule needs and does not keep: a number, or a list of one a row.
    """

    numbers: Sequence[float]
    key: int
    measured: Mapping[str, Any]


class Launch(ABC):
    """Rows gathered for one way of running them; can be repeated while nothing but gradients and numbers changes.

    Args:
        rows: of one sweep, each fit for it.

    Attributes:
        squares: of numbers and addresses, Σ g² of every row's gradient as the rule takes gradients; None where the rule
            needs none, or they are added up row by row (:func:`measures.measure`).
    """

    squares: Squares | None = None

    def __init__(self, rows: Sequence[ParamRow]) -> None:
        first = rows[0]
        self.sweep = first.sweep
        self.fresh = first.fresh
        self.measures = SQUARES & first.measured.keys()
        self.places = [(row.number, _first_element(row)) for row in rows]
        self.states = [row.state for row in rows]
        self.parameters = [row.parameter for row in rows]
        self.names = [name for name in first.state if name not in first.sweep.numbers]
        self.numbers = row_numbers(first)
        self.kept = [[local(state[name]) for state in self.states] for name in self.names]
        self.memory = KeptMemory([*self.parameters, *(tensor for tensors in self.kept for tensor in tensors)])
        self.gradients = Gradients([row.gradient for row in rows])

    @property
    def repeatable(self) -> bool:
        """Whether the launch holds all that the next step needs: no memories that were empty, and sums of its own."""
        return not self.fresh and (self.squares is not None or not self.measures)

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
    def run(self, step: StepNumbers, gradients: Sequence[Tensor], addresses: Sequence[int] | None = None) -> None:
        """Run one step of the gathered parameters.

        Args:
            step: its numbers.
            gradients: of the rows.
            addresses: theirs, if known.
        """


def _first_element(row: ParamRow) -> int:
    """The index of its first element; where it lies in pieces nothing is drawn, and none is asked for."""
    return row.index if isinstance(row.index, int) else 0


def keep(state: dict[str, Any], name: str, value: float) -> None:
    """A number of the state: in its tensor, where it is kept in one."""
    if isinstance(state[name], Tensor):
        state[name].fill_(value)
    else:
        state[name] = value
