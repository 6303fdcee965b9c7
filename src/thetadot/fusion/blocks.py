"""A program in torch's own operations, without a compiler: in place, block by block, so that a block stays in cache.

The program is rewritten in torch's combined operations (a + s·b, a + s·(b-a), a + s·b/c), each result is written over
a value that is needed no more, and every block is carried through all of it before the next one is touched. Combined
operations round once where the program rounds twice: results are the program's to rounding, not to the bit.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch

from thetadot.fusion.program import NUMBER, CannotCompile
from thetadot.fusion.rewriting import Rewriter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from thetadot.fusion.program import Program

BLOCK = 1 << 18
"""Elements of a block: a MiB of float32. Half of it costs a sixth more in calls, whole tensors no less."""

TOGETHER = 1 << 16
"""Elements of small tensors that make a block together."""


class Blocks:
    """A program of one dtype, run by blocks.

    Args:
        program: what is done to one element.
        changing: the input that is another tensor at every run.

    Raises:
        CannotCompile: it converts between dtypes, or hands values round; that is left to plain operations.
    """

    def __init__(self, program: Program, changing: str = "gradient") -> None:
        dtypes = {program.kinds[node] for node in program.nodes if program.kinds[node] != NUMBER}
        if len(dtypes - {torch.bool}) > 1:
            raise CannotCompile("the rule converts between dtypes.")
        self.arrays = tuple(n for n, node in program.inputs.items() if program.kinds[node] not in (NUMBER, torch.int64))
        writer = Rewriter(program)
        self._prepare, self._block, self.scratch = writer.functions(self.arrays)
        self._lists = writer.of_lists(self.arrays)
        self._changing = changing
        self._place = self.arrays.index(changing) if changing in self.arrays else None
        self.draws = [(i, name) for i, name in enumerate(self.arrays) if name.startswith("draw")]

    def __call__(
        self, numbers: Mapping[str, float], arrays: Mapping[str, Tensor], draw: Callable[[str, Tensor, int], Tensor]
    ) -> dict[str, Any]:
        """Run once on ``arrays``, contiguous and of one shape, in place; returns the outputs that are numbers."""
        outputs, inner = self.prepare(numbers)
        fixed = [name for name in arrays if name != self._changing]
        (pieces,) = self.pieces([[arrays[name] for name in fixed]], fixed)
        self.run(pieces, arrays.get(self._changing), inner, draw)
        return outputs

    def prepare(self, numbers: Mapping[str, float]) -> tuple[dict[str, Any], list[Any]]:
        """The outputs that are numbers, and the numbers that a block needs."""
        outputs, inner = self._prepare(numbers)
        return outputs, inner

    def pieces(self, tensors: Sequence[Sequence[Tensor]], names: Sequence[str]) -> list[list[BlockPiece]]:
        """Cut every row of ``tensors``, named ``names``, into blocks that are run in sequence.

        All are contiguous and of one dtype.
        """
        longest = max((min(row[0].numel(), BLOCK) for row in tensors), default=0)
        scratch = [tensors[0][0].new_empty(longest) for _ in range(self.scratch)]
        found = []
        for row in tensors:
            count = row[0].numel()
            cut = []
            for start in range(0, max(count, 1), BLOCK):
                end = min(start + BLOCK, count)
                parts = row if count <= BLOCK else [tensor.view(-1)[start:end] for tensor in row]
                held = dict(zip(names, parts, strict=True))
                buffers = [buffer[: end - start].view(parts[0].shape) for buffer in scratch]
                arguments = [*(held.get(name) for name in self.arrays), *buffers]
                cut.append(BlockPiece(start, end, arguments, parts[0], whole=count <= BLOCK))
            found.append(cut)
        return found

    @property
    def takes_lists(self) -> bool:
        """Whether the program can be run on lists of tensors."""
        return self._lists is not None

    def batches(
        self, tensors: Sequence[Sequence[Tensor]], names: Sequence[str], together: int = TOGETHER
    ) -> list[BlockBatch]:
        """Cut rows into blocks, of which small ones make a batch that is run at once.

        Args:
            tensors: contiguous, of one dtype.
            names: of a row's tensors.
            together: elements of a batch; 0 keeps rows apart.
        """
        cut = [
            Member(row, start, min(start + BLOCK, count), whole=count <= BLOCK)
            for row, count in enumerate(given[0].numel() for given in tensors)
            for start in range(0, max(count, 1), BLOCK)
        ]
        batches: list[list[Member]] = []
        held = 0
        for member in cut:
            held += member.end - member.start
            if not batches or held > together:
                batches.append([])
                held = member.end - member.start
            batches[-1].append(member)
        _, scratch = cast("tuple[Any, int]", self._lists)
        longest = max((sum(member.end - member.start for member in batch) for batch in batches), default=0)
        buffers = [tensors[0][0].new_empty(longest) for _ in range(scratch)]
        shapes = [[member.of(tensors[member.row][0]).shape for member in batch] for batch in batches]
        return [
            BlockBatch(batch, shape, self._arguments(batch, tensors, names, buffers))
            for batch, shape in zip(batches, shapes, strict=True)
        ]

    def _arguments(
        self,
        batch: Sequence[Member],
        tensors: Sequence[Sequence[Tensor]],
        names: Sequence[str],
        buffers: Sequence[Tensor],
    ) -> list[Any]:
        parts = [[member.of(tensor) for tensor in tensors[member.row]] for member in batch]
        held = dict(zip(names, map(list, zip(*parts, strict=True)), strict=True))
        ends = [*itertools.accumulate(member.end - member.start for member in batch)]
        views = [
            [
                buffer[end - (member.end - member.start) : end].view(part[0].shape)
                for member, part, end in zip(batch, parts, ends, strict=True)
            ]
            for buffer in buffers
        ]
        return [*(held.get(name) for name in self.arrays), *views]

    def run_batch(
        self, batch: BlockBatch, changing: Sequence[Tensor], inner: Sequence[Any], draws: Mapping[str, Sequence[Tensor]]
    ) -> None:
        """Run on a batch, in place.

        Args:
            batch: of :meth:`batches`.
            changing: of all rows, the input that is another tensor at every run, contiguous.
            inner: numbers, as :meth:`prepare` gave them.
            draws: the noise by name, for each member.
        """
        function, _ = cast("tuple[Any, int]", self._lists)
        arguments = list(batch.arguments)
        if self._place is not None:
            arguments[self._place] = [
                changing[row] if whole else changing[row].view(-1)[start:end]
                for row, start, end, whole in batch.members
            ]
        for place, name in self.draws:
            arguments[place] = draws[name]
        function(*arguments, *inner)

    def run(
        self,
        pieces: Sequence[BlockPiece],
        changing: Tensor | None,
        inner: Sequence[Any],
        draw: Callable[[str, Tensor, int], Tensor] | None = None,
    ) -> None:
        """Run on one row, in place.

        Args:
            pieces: of the row.
            changing: the row's input that is another tensor at every run, contiguous.
            inner: numbers, as :meth:`prepare` gave them.
            draw: the noise of a name, for a block like a tensor that begins at an element.
        """
        for piece in pieces:
            arguments = piece.arguments
            if self._place is not None and changing is not None:
                part = changing if piece.whole else changing.view(-1)[piece.start : piece.end]
                arguments[self._place] = part
            if draw is not None:
                for place, name in self.draws:
                    arguments[place] = draw(name, piece.like, piece.start)
            self._block(*arguments, *inner)
            if self._place is not None:
                arguments[self._place] = None  # not kept alive


@dataclass
class BlockPiece:
    """A block of one row.

    Attributes:
        start, end: its elements.
        arguments: of the block's function: its tensors, empty places for what changes and for noise, buffers.
        like: one of its tensors.
        whole: whether it is all of the row.
    """

    start: int
    end: int
    arguments: list[Any]
    like: Tensor
    whole: bool


class Member(NamedTuple):
    """A block of one row, in a batch.

    Attributes:
        row: which.
        start, end: its elements.
        whole: whether it is all of the row.
    """

    row: int
    start: int
    end: int
    whole: bool

    def of(self, tensor: Tensor) -> Tensor:
        """Return this member's part of a row's tensor."""
        return tensor if self.whole else tensor.view(-1)[self.start : self.end]


class BlockBatch(NamedTuple):
    """Blocks of rows that are run at once.

    Attributes:
        members: the blocks.
        shapes: theirs.
        arguments: of the lists' function: lists of tensors, empty places for what changes and for noise, buffers.
    """

    members: list[Member]
    shapes: list[torch.Size]
    arguments: list[Any]
