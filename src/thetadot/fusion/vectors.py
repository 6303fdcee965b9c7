"""A program of words and float32 run by numpy, an operation at a time, over values that are needed no more.

Words of 32 bits are numpy's uint32, which wraps as C++'s does; torch has no such type that it can add, and takes them
as int64 under masks. All values are four bytes wide, so that one may be written over any other; what is true has all
bits set.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import fx

from thetadot.fusion.program import CannotCompile

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from thetadot.fusion.program import Program

_WORD = 0xFFFFFFFF
_TYPES: dict[Any, Any] = {
    torch.int64: np.uint32,
    torch.bool: np.uint32,
    torch.int32: np.int32,
    torch.float32: np.float32,
}
_FUNCTIONS: dict[Any, Any] = {
    operator.add: np.add,
    operator.sub: np.subtract,
    operator.mul: np.multiply,
    operator.and_: np.bitwise_and,
    operator.or_: np.bitwise_or,
    operator.xor: np.bitwise_xor,
    operator.lshift: np.left_shift,
    operator.rshift: np.right_shift,
    operator.neg: np.negative,
    "sqrt": np.sqrt,
}


class Vectors:
    """A program on vectors of one length.

    Args:
        program: its inputs are words; its outputs are words or float32.
        count: the length.

    Attributes:
        inputs: vectors by name, to be filled.
        outputs: vectors by name, written by a call, and over by the next.

    Raises:
        CannotCompile: it has an operation that is not here.
    """

    def __init__(self, program: Program, count: int) -> None:
        self._program, self._count = program, count
        self._root = _roots(program)
        self._last = {self._root[used]: i for i, node in enumerate(program.nodes) for used in node.all_input_nodes}
        kept = (*program.outputs.values(), *program.inputs.values())
        self._last |= {self._root[node]: len(program.nodes) for node in kept}
        self._values: dict[fx.Node, NDArray[Any]] = {node: self._new() for node in program.inputs.values()}
        self._free: list[NDArray[np.uint32]] = []
        self._steps: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        for place, node in enumerate(program.nodes):
            self._add(node, place)
        self.inputs = {name: self._values[node] for name, node in program.inputs.items()}
        self.outputs = {name: self._values[node] for name, node in program.outputs.items()}

    def __call__(self) -> None:
        """Compute the outputs in place."""
        for function, args in self._steps:
            function(*args)

    def _new(self) -> NDArray[np.uint32]:
        return np.zeros(self._count, dtype=np.uint32)

    def _add(self, node: fx.Node, place: int) -> None:
        """Where the result goes, and what writes it there."""
        args: list[Any] = [self._values.get(arg, arg) if isinstance(arg, fx.Node) else arg for arg in node.args]
        kind = self._program.kinds[node]
        if self._root[node] is not node:
            self._values[node] = args[0].view(_TYPES[kind])
            return
        out = self._free.pop() if self._free else self._new()
        self._values[node] = result = out.view(_TYPES[kind])
        self._steps.append(self._writer(node, args, result))
        for root in {self._root[operand] for operand in node.all_input_nodes}:
            if self._last[root] == place:
                self._free.append(self._values[root].view(np.uint32))

    def _writer(
        self, node: fx.Node, args: list[Any], result: NDArray[Any]
    ) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        if node.target == "to":
            return np.copyto, (result, args[0], "unsafe")
        if node.target is operator.ne:

            def compare() -> None:
                np.copyto(result, np.not_equal(*args), casting="unsafe")
                np.negative(result, out=result)

            return compare, ()
        if node.target is torch.where:
            mask, yes, no = args[0], *(arg.view(np.uint32) for arg in args[1:])
            bits = result.view(np.uint32)

            def choose() -> None:  # by bits: branches on random bits are mostly predicted wrongly
                np.bitwise_xor(yes, no, out=bits)
                np.bitwise_and(bits, mask, out=bits)
                np.bitwise_xor(bits, no, out=bits)

            return choose, ()
        if node.target not in _FUNCTIONS:
            raise CannotCompile(f"{node.target} is not run by numpy here.")
        function = _FUNCTIONS[node.target]
        given = [arg if isinstance(arg, np.ndarray) else result.dtype.type(arg) for arg in args]
        return function, (*given, result)


def _roots(program: Program) -> dict[fx.Node, fx.Node]:
    """The node in whose memory a value lies: what wraps needs no mask, and a view has the same bits."""
    roots = {node: node for node in program.inputs.values()}
    for node in program.nodes:
        mask = node.target is operator.and_ and program.kinds[node] == torch.int64 and node.args[1] == _WORD
        roots[node] = roots[node.all_input_nodes[0]] if mask or node.target == "view" else node
    return roots
