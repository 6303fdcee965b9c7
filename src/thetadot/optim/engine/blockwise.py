"""Rows without a compiler: torch's combined operations on lists of tensors, block by block; noise by numpy."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from thetadot.fusion import Blocks
from thetadot.fusion.draws import Places, derived
from thetadot.fusion.program import CannotCompile
from thetadot.optim.engine.gathered import Launch, StepNumbers, keep
from thetadot.optim.engine.programs import once, program_of, sweep_numbers
from thetadot.systems.base import POSITION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from thetadot.fusion.blocks import BlockBatch
    from thetadot.fusion.draws import Keys
    from thetadot.optim.engine.move import Move
    from thetadot.optim.engine.rows import ParamRow


class InBlocks(Launch):
    """Rows in combined operations: small ones at once, as lists; large ones block by block.

    Raises:
        CannotCompile: the rule converts between dtypes.
    """

    def __init__(self, rows: Sequence[ParamRow]) -> None:
        super().__init__(rows)
        first = rows[0]
        if not all(row.parameter.is_contiguous() for row in rows):
            raise CannotCompile("memory in another order is left to plain operations.")
        self.shared = tuple(sweep_numbers(first.sweep))
        self.blocks = once("blocks", first, lambda: Blocks(program_of(first)))
        if not self.blocks.takes_lists:
            raise CannotCompile("an operation knows no lists.")
        self.batches: list[BlockBatch] = []
        self.noise: RowBlockNoise | None = None
        self.apart = False

    def _cut(self, *, apart: bool) -> None:
        """Cut rows into batches; apart, where they have numbers of their own."""
        if self.batches and apart == self.apart:
            return
        tensors = [*zip(self.parameters, *self.kept, strict=True)]
        batches = self.blocks.batches(tensors, [POSITION, *self.names], **{"together": 0} if apart else {})
        names = [name for _, name in self.blocks.draws]
        self.batches, self.noise = (
            batches,
            RowBlockNoise(batches, self.places, names, self.sweep.move) if names else None,
        )
        self.apart = apart

    def run(self, step: StepNumbers, gradients: Sequence[Tensor], addresses: Sequence[int] | None = None) -> None:  # noqa: ARG002
        """Run the step by blocks."""
        common = dict(zip(self.shared, step.numbers, strict=True))
        columns = [self._column(name, step.measured) for name in self.numbers]
        mine = [tuple(map(float, numbers)) for numbers in zip(*columns, strict=True)]
        several = set(mine)
        self._cut(apart=len(several) > 1)
        prepared = {
            own: self.blocks.prepare(common | dict(zip(self.numbers, own, strict=True))) for own in several or {()}
        }
        if self.noise is not None:
            self.noise.begin(step.key)
        for place, batch in enumerate(self.batches):
            _, inner = prepared[mine[batch.members[0].row] if mine else ()]
            self.blocks.run_batch(batch, gradients, inner, {} if self.noise is None else self.noise.drawn(place))
        for state, numbers in zip(self.states, mine, strict=False):
            for name, value in prepared[numbers][0].items():
                keep(state, name, value)

    def _column(self, name: str, measured: Mapping[str, Any]) -> list[Any]:
        """A number of every row."""
        if name not in measured:
            return [state[name] for state in self.states]
        given = measured[name]
        return given if isinstance(given, list) else [given] * len(self.states)


class RowBlockNoise:
    """The noise of batches of blocks, a batch drawn at once, into memory that all of them use in turn.

    Args:
        batches: the blocks.
        places: of the rows: the parameter's number, and the index of its first element in the whole.
        names: of the draws.
        move: the rule.
    """

    def __init__(
        self, batches: Sequence[BlockBatch], places: Sequence[tuple[int, int]], names: Sequence[str], move: Move
    ) -> None:
        members = [member for batch in batches for member in batch.members]
        self._numbers = np.array([places[member.row][0] for member in members], dtype=np.int64)
        self._names, self._stage, self._wide = names, move.stage, move.wide
        self._keys: dict[str, Keys] = {}
        ends = [0, *itertools.accumulate(len(batch.members) for batch in batches)]
        self._parts = [slice(begin, end) for begin, end in itertools.pairwise(ends)]
        self._places = [
            Places(
                [places[member.row][1] + member.start for member in batch.members],
                [member.end - member.start for member in batch.members],
            )
            for batch in batches
        ]
        longest = max(each.total for each in self._places)
        self._drawn = {name: torch.empty(longest) for name in names}
        self._wider = {name: drawn.to(move.wide) for name, drawn in self._drawn.items()}  # itself, where it is float32
        self._views: list[dict[str, list[Tensor]]] = [
            {
                name: [z.view(shape) for z, shape in zip(each.of(drawn), batch.shapes, strict=True)]
                for name, drawn in self._wider.items()
            }
            for each, batch in zip(self._places, batches, strict=True)
        ]

    def begin(self, key: int) -> None:
        """Derive the keys of a step."""
        for name in self._names:
            self._keys[name] = derived(key, self._numbers, self._stage, int(name.removeprefix("draw")))

    def drawn(self, batch: int) -> dict[str, list[Tensor]]:
        """A standard normal tensor a block of one batch, by name of the draw."""
        places = self._places[batch]
        for name, drawn in self._drawn.items():
            places.normals(self._keys[name].of(self._parts[batch]), drawn[: places.total])
            if self._wider[name] is not drawn:
                self._wider[name][: places.total] = drawn[: places.total]
        return self._views[batch]
