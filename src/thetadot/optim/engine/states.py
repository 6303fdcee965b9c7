"""The state beside a parameter: which variables it has, and what they begin with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from thetadot.core.rounding import NARROW
from thetadot.core.tensors import accumulation_dtype, real_view, tensor_of
from thetadot.integrators.base import MechanicalIntegrator, initial_state
from thetadot.optim.engine.move import AVERAGE, AVERAGE_COUNT, COMPENSATION
from thetadot.optim.engine.shards import local, wholes
from thetadot.systems.base import POSITION

if TYPE_CHECKING:
    from thetadot.core.annotations import State
    from thetadot.optim.engine.host import Host
    from thetadot.optim.engine.rows import Sweep
    from thetadot.systems.base import System


def first_state(
    host: Host,
    p: Tensor,
    group: dict[str, Any],
    gradient: Tensor | None = None,
    scales: Any = None,
    sweep: Sweep | None = None,
) -> State:
    """Return the initial variables of a parameter; a start at rest needs its first gradient."""
    system, _ = host.motion(group)
    like = real_view(p.detach())
    first = initial_state(system, host.integrator, like)
    del first[POSITION]
    tensors = host.options.capturable or torch.compiler.is_compiling()
    for name, value in first.items():
        if name in system.scalars and isinstance(value, Tensor):  # read off the parameter: the same on all its shards
            (size,) = wholes([value])
            first[name] = size.double() if tensors or size.is_meta else float(size)
    for name in stage_variables(host, system):
        first[name] = (
            0.0 if _base_variable(name) in system.scalars else torch.zeros_like(like, dtype=accumulation_dtype(like))
        )
    if group["averaging"] is not None:
        first[AVERAGE] = torch.zeros_like(like, dtype=accumulation_dtype(like))
        first[AVERAGE_COUNT] = 0.0
    if like.dtype in NARROW and host.options.low_precision == "kahan":
        first[COMPENSATION] = torch.zeros_like(like)
    if host.options.start == "rest" and sweep is not None:
        force = sweep.move.force(sweep.settings, local(gradient), local(like))
        velocity = cast("MechanicalIntegrator", host.integrator).at_rest(scales, force)
        local(tensor_of(first, "velocity")).copy_(velocity)
    if tensors:
        for name, value in first.items():
            if not isinstance(value, Tensor):
                first[name] = torch.full((), value, dtype=torch.float64, device=like.device)
    return first


def variables(host: Host, p: Tensor, group: dict[str, Any], system: System | None = None) -> tuple[set[str], set[str]]:
    """Names of all that is kept beside ``p``, and of those that are numbers."""
    system = host.motion(group)[0] if system is None else system
    work = stage_variables(host, system)
    numbers = {
        *system.scalars,
        *host.integrator.carried,
        *(name for name in work if _base_variable(name) in system.scalars),
    }
    names = {*system.variables, *numbers, *work}
    if group["averaging"] is not None:
        names |= {AVERAGE, AVERAGE_COUNT}
        numbers |= {AVERAGE_COUNT}
    if p.dtype in NARROW and host.options.low_precision == "kahan":
        names |= {COMPENSATION}
    return names, numbers


def stage_variables(host: Host, system: System) -> tuple[str, ...]:
    """Return the names that a rule of several stages carries between stages."""
    carries = getattr(host.integrator, "between", None)
    return carries(system) if carries else ()


def _base_variable(name: str) -> str:
    """The variable whose start, slope or noise it is."""
    return name.partition("_")[2]


def dtype_of(name: str, p: Tensor) -> torch.dtype:
    """Return the dtype of a state tensor: the parameter's for its rounding remainder, wide for all else."""
    like = real_view(p.detach())
    return like.dtype if name == COMPENSATION else accumulation_dtype(like)
