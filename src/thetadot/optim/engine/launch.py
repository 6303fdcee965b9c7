r"""Execution of rows: in one compiled pass over memory or, without a compiler, block by block in torch.

The compiled pass gives the bits of the rule run plainly in torch's operations; blocks give them to rounding. Which
way is taken is a function of options, shapes and the presence of a compiler only.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING

import torch

from thetadot.fusion.program import CannotCompile
from thetadot.optim.engine import inductor
from thetadot.optim.engine.blockwise import InBlocks
from thetadot.optim.engine.compiled import CompiledRows
from thetadot.optim.engine.gathered import Launch, StepNumbers
from thetadot.optim.engine.memory import walkable
from thetadot.optim.engine.programs import sweep_numbers
from thetadot.optim.engine.rows import ParamRow, step_plainly
from thetadot.optim.engine.shards import local

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from thetadot.optim.options import Compile

log = logging.getLogger("thetadot")


def launch(rows: Sequence[ParamRow], compiled: Compile) -> Launch | None:
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
            done = CompiledRows(able)
    except CannotCompile as error:
        if compiled != "auto":
            raise
        _say_once(str(error))
        if elsewhere:
            able, rest = [], list(rows)
    if able and not elsewhere and done is None:
        try:
            done = InBlocks(able)
        except CannotCompile:
            rest = list(rows)
    if done is not None:
        done.run(numbers_of(able), [row.gradient for row in able])
    step_plainly(rest)
    return None if rest else done


def _split(rows: Sequence[ParamRow], able: Callable[[ParamRow], bool]) -> tuple[list[ParamRow], list[ParamRow]]:
    yes: list[ParamRow] = []
    no: list[ParamRow] = []
    for row in rows:
        (yes if able(row) else no).append(row)
    return yes, no


@cache
def _say_once(why: str) -> None:
    log.warning(
        "steps are not compiled, and run block by block in torch's operations: %s "
        "On many tensors they take 2 to 4 times as long, and 5 to 6 times where noise is drawn.",
        why,
    )


def _able(row: ParamRow) -> bool:
    """Whether its memory can be walked through."""
    p, sweep = row.parameter, row.sweep
    if torch.compiler.is_compiling() or sweep.keep:
        return False
    kept = [local(value) for name, value in row.state.items() if name not in sweep.numbers]
    placed = not sweep.draws or (isinstance(row.index, int) and p.is_contiguous())
    return placed and walkable(p, row.gradient, *kept)


def numbers_of(rows: Sequence[ParamRow]) -> StepNumbers:
    """Build the step of gathered rows."""
    sweep = rows[0].sweep
    measured = {name: [row.measured[name] for row in rows] for name in rows[0].measured}
    return StepNumbers(list(sweep_numbers(sweep).values()), int(sweep.key), measured)
