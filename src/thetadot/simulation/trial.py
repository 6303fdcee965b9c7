"""A step that was traced is believed once it has done what torch does, on some of the paths.

What a trace cannot see would otherwise stay as it was while tracing: the number of paths, a random number of Python's,
an operation that a rule of :mod:`thetadot.fusion.operations` takes for another.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import torch

from thetadot.core.tensors import tensor_of
from thetadot.fusion.program import CannotCompile
from thetadot.simulation.engines import Compiled, InPlace, Plain
from thetadot.systems.base import POSITION

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.simulation.asked import Asked
    from thetadot.simulation.engines import Randomness
    from thetadot.simulation.motion import PosedMotion

    Traced = TypeVar("Traced", bound=Compiled | InPlace)

_PATHS = 5  # not 2, which is what is traced
_ROUNDINGS = 1e3  # of a variable
_SHARE = 1e-2  # of its change; both far above what another order of operations does, and below any other function


def believed(engine: Traced, motion: PosedMotion, randomness: Randomness, like: Tensor, own: Asked) -> Traced:
    """The engine, if a step of it is that of torch's own operations.

    Args:
        engine: traced.
        motion: what it was traced from.
        randomness: of the ensemble.
        like: positions (paths, dim) to try.
        own: what a step asks for.

    Raises:
        CannotCompile: another step.
    """
    plain = Plain(motion, replace(randomness, counters=isinstance(engine, Compiled)), own)
    some = like[:_PATHS].detach()
    beside = some * (1.0 + 1e-3) + 1e-3  # where a choice hung on the last digit, it does so no more
    if any(_agree(motion, plain, engine, points) for points in (some, beside)):
        return engine
    raise CannotCompile(
        "its kernel does not do what the function does when it is called: it may hold the number of paths, or "
        "something that changes between calls."
    )


def _agree(motion: PosedMotion, plain: Plain, engine: Compiled | InPlace, points: Tensor) -> bool:
    """The second step: in the first, empty memories may be a case of their own."""
    state = plain.march(motion.begin({POSITION: points}), 0, 1)
    wanted, found = plain.march(state, 1, 1), engine.march(state, 1, 1)
    return all(_near(*(tensor_of(own, name) for own in (state, wanted, found))) for name in motion.tensors)


def _near(before: Tensor, wanted: Tensor, found: Tensor) -> bool:
    if not bool((wanted.isfinite() == found.isfinite()).all()):
        return False
    finite = wanted.isfinite()
    size = torch.maximum(before.abs(), wanted.abs())
    most = _ROUNDINGS * torch.finfo(wanted.dtype).eps * size + _SHARE * (wanted - before).abs()
    tiny = torch.finfo(wanted.dtype).tiny
    return bool(((wanted - found).abs() <= most + tiny)[finite].all())
