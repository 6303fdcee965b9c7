"""Rows run by torch.compile: the rule in its frame as one graph, for devices that the C++ pass does not know.

On CUDA the graph becomes a Triton kernel. Shapes are dynamic and numbers are tensors, so that one compilation serves
all parameters and every value that a schedule gives. Nothing waits for the device.
"""

from __future__ import annotations

import itertools
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from thetadot.core.rng import derive, normal, words
from thetadot.core.tensors import tensor_of
from thetadot.fusion import flatten
from thetadot.fusion.nested_numbers import rebuild
from thetadot.fusion.program import CannotCompile
from thetadot.optim.engine.shards import local
from thetadot.systems.base import POSITION

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from thetadot.core.annotations import State
    from thetadot.optim.engine.move import Move
    from thetadot.optim.engine.rows import ParamRow


def able(row: ParamRow) -> bool:
    """Whether torch.compile can take it: a tensor that lies in one piece of the whole, and nothing is recorded."""
    sweep = row.sweep
    tensors = (row.parameter, row.gradient, *(local(v) for name, v in row.state.items() if name not in sweep.numbers))
    whole = isinstance(row.index, int) and all(map(Tensor.is_contiguous, tensors))
    return whole and not sweep.keep and not row.fresh and not torch.compiler.is_compiling()


@cache
def _has_triton() -> bool:
    from torch.utils._triton import has_triton  # noqa: PLC0415

    return bool(has_triton())


def step(rows: Sequence[ParamRow]) -> None:
    """Run the rule on every row.

    Raises:
        CannotCompile: the device has no compiler.
    """
    if rows[0].parameter.device.type == "cuda" and not _has_triton():
        raise CannotCompile("Triton is not there, which compiles for CUDA. Install it, or pass compile=False.")
    for row in rows:
        sweep = row.sweep
        function = _compiled(sweep.move, sweep.numbers)
        numbers = _as_tensors(flatten((sweep.scales, sweep.settings)))
        scales, settings = rebuild((sweep.scales, sweep.settings), iter(numbers))
        own = {name: row.state[name] for name in sweep.numbers} | row.measured
        # all as vectors: the number of dimensions would be compiled in
        state = {name: local(value).view(-1) for name, value in row.state.items() if name not in sweep.numbers}
        state |= dict(zip(own, _as_tensors(list(own.values())), strict=True))
        branch = _branch(sweep.key, row.number, sweep.move.stage)
        found = function(scales, settings, row.parameter.view(-1), row.gradient.view(-1), state, branch, row.index)
        for name in sweep.numbers:
            old = row.state[name]
            if isinstance(old, Tensor):
                old.copy_(found[name])
            else:
                row.state[name] = float(found[name])


def _as_tensors(values: list[Any]) -> list[Tensor]:
    """Numbers as tensors of shape (): those that came as tensors stay on their device, others are on the CPU."""
    return [value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64) for value in values]


def _branch(key: int | Tensor, *path: int) -> Tensor:
    """The noise's key of one tensor in one stage, as a tensor, so that it is no constant of the graph."""
    derived = derive(key, *path)
    if isinstance(derived, Tensor):
        return derived
    return torch.tensor(derived - (1 << 64) if derived >> 63 else derived, dtype=torch.int64)


_serial = itertools.count()


@cache
def _compiled(move: Move, names: frozenset[str]) -> Callable[..., dict[str, Any]]:
    def function(
        scales: Any, settings: Any, parameter: Tensor, gradient: Tensor, state: State, branch: Tensor, index: int
    ) -> dict[str, Any]:
        drawn = 0

        def draw() -> Tensor:
            nonlocal drawn
            drawn += 1
            return normal(parameter, derive(branch, drawn), move.wide, index)

        def bits() -> Tensor:
            return words(parameter, derive(branch, 0), index)

        new = move.advance(scales, settings, {POSITION: parameter, **state}, gradient, draw, bits)
        parameter.copy_(tensor_of(new, POSITION))
        for name in state:
            if name in new and name not in names:
                tensor_of(state, name).copy_(tensor_of(new, name))
        return {name: new[name] for name in names}

    # torch.compile counts recompilations by code object: each rule gets one of its own
    function.__code__ = function.__code__.replace(co_name=f"move_{next(_serial)}")
    return torch.compile(function, dynamic=True, fullgraph=True)
