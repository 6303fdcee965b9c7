"""The rule of a row as a program: traced from :class:`Move`, once for all that differs in numbers only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import torch

from thetadot.fusion import Array, flatten, structure, trace
from thetadot.fusion.nested_numbers import rebuild
from thetadot.fusion.program import NUMBER, CannotCompile
from thetadot.optim.engine.shards import local
from thetadot.systems.base import POSITION

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from thetadot.fusion.program import Program
    from thetadot.optim.engine.rows import ParamRow, Sweep

GRADIENT = "gradient"

Made = TypeVar("Made")
_made: dict[Hashable, Any] = {}


def once(kind: str, row: ParamRow, make: Callable[[], Made]) -> Made:
    """Return what ``make`` builds for rows of this kind, built once in a process; raise again what it raised.

    Raises:
        CannotCompile: as ``make`` did.
    """
    key: tuple[Any, ...] = (kind, row.sweep.move, structure(row.sweep.scales), row_arrays(row))
    key += () if kind == "squares" else (row_numbers(row), row.fresh)  # a force is nothing to a row's own numbers
    if key not in _made:
        try:
            _made[key] = make()
        except CannotCompile as error:
            _made[key] = error
    if isinstance(_made[key], CannotCompile):
        raise _made[key]
    return _made[key]  # type: ignore[no-any-return]


def row_arrays(row: ParamRow) -> tuple[Array, ...]:
    """Position, gradient, the state's tensors."""
    names = [name for name in row.state if name not in row.sweep.numbers]
    return (
        Array(POSITION, row.parameter.dtype),
        Array(GRADIENT, row.gradient.dtype),
        *(Array(name, local(row.state[name]).dtype) for name in names),
    )


def row_numbers(row: ParamRow) -> tuple[str, ...]:
    """The row's numbers: kept and measured."""
    return (*(name for name in row.state if name in row.sweep.numbers), *row.measured)


def sweep_numbers(sweep: Sweep) -> dict[str, float]:
    """The numbers that all rows of a sweep have in common."""
    numbers = flatten((sweep.scales, sweep.settings))
    return {f"s{i}": float(number) for i, number in enumerate(numbers)}


def program_of(row: ParamRow) -> Program:
    """The rule in its frame, traced.

    A rule may treat memories that are empty as a case of its own: numbers that are 0 at the start are constants here.
    """
    sweep, measured = row.sweep, row_numbers(row)
    names = [array.name for array in row_arrays(row) if array.name != GRADIENT]
    common = tuple(sweep_numbers(sweep))

    def body(given: Mapping[str, Any]) -> dict[str, Any]:
        drawn = 0

        def draw() -> Any:
            nonlocal drawn
            drawn += 1
            return given[f"draw{drawn}"].to(sweep.move.wide)

        scales, settings = rebuild((sweep.scales, sweep.settings), iter([given[name] for name in common]))
        state = {name: 0.0 if name in row.fresh else given[name] for name in (*names, *measured)}
        new = sweep.move.advance(scales, settings, state, given[GRADIENT], draw, lambda: given["words"])
        return {name: value for name, value in new.items() if value is not state[name]}

    inputs = {array.name: array.dtype for array in row_arrays(row)} | dict.fromkeys((*common, *measured), NUMBER)
    return trace(body, {**inputs, "words": torch.int64})


def force_program(row: ParamRow) -> Program:
    """The gradient as the rule takes it, for sums of its squares."""
    sweep, common = row.sweep, tuple(sweep_numbers(row.sweep))

    def body(given: Mapping[str, Any]) -> dict[str, Any]:
        _, settings = rebuild((sweep.scales, sweep.settings), iter([given[name] for name in common]))
        return {"value": sweep.move.force(settings, given[GRADIENT], given[POSITION])}

    return trace(body, {array.name: array.dtype for array in row_arrays(row)} | dict.fromkeys(common, NUMBER))
