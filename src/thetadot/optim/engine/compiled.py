"""Rows in one compiled pass over memory: a kernel and its table of addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from thetadot.fusion import Kernel
from thetadot.fusion.kernel import HEAD
from thetadot.optim.engine.gathered import Launch, StepNumbers, keep
from thetadot.optim.engine.measures import kernel_of
from thetadot.optim.engine.programs import once, program_of, row_arrays, row_numbers, sweep_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thetadot.optim.engine.rows import ParamRow

_GRADIENT_COLUMN = len(HEAD) + 1


class CompiledRows(Launch):
    """Rows as a kernel's table."""

    def __init__(self, rows: Sequence[ParamRow]) -> None:
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
        self.shared = np.zeros(len(sweep_numbers(first.sweep)))
        self.own = np.zeros((count, len(self.numbers)))
        self.out = np.zeros((count, len(self.kernel.numbers)))
        self.again = self.kernel.on(self.table, self.shared, self.own, self.out)
        if self.measures:
            self.sums = kernel_of(first).on(self.table, self.shared)
            self.squares = self._squared

    def _squared(self, numbers: Sequence[float], addresses: Sequence[int]) -> list[float]:
        """Σ g² of every row, by one kernel."""
        self.shared[:] = numbers
        self.table[:, _GRADIENT_COLUMN] = addresses
        found: list[float] = self.sums().tolist()
        return found

    def run(self, step: StepNumbers, gradients: Sequence[Tensor], addresses: Sequence[int] | None = None) -> None:
        """Run the compiled step."""
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
                    keep(state, name, value)


def _compile(row: ParamRow) -> Kernel:
    sweep = row.sweep
    name = f"{type(sweep.move.integrator).__name__} for {str(sweep.move.storage).removeprefix('torch.')}"
    return Kernel(
        program_of(row), row_arrays(row), tuple(sweep_numbers(sweep)), row_numbers(row), sweep.move.stage, name
    )
