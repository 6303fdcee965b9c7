"""What a state dict holds beyond torch's: the stored velocity's convention, the noise key and the step count."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from torch import Tensor

from thetadot.errors import DamagedFile, InadmissibleValue
from thetadot.integrators.base import MechanicalIntegrator, name_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from thetadot.optim.flow import Flow

VERSION = 1


def pack(flow: Flow) -> dict[str, Any]:
    """Numbers and strings only, so that ``torch.load(weights_only=True)`` takes them."""
    return {
        "version": VERSION,
        "integrator": name_of(flow.integrator),
        "convention": getattr(flow.integrator, "convention", None),
        "key": flow.key,
        "steps": flow.steps,
    }


def restore(flow: Flow, state_dict: dict[str, Any], load: Callable[[dict[str, Any]], None]) -> None:
    """Check, load by torch's own method, then put back what it would have cast, and convert the velocity."""
    own = state_dict.get("thetadot") if isinstance(state_dict, dict) else None
    if not isinstance(own, dict) or own.get("version") != VERSION:
        raise DamagedFile(
            f"this is not a state dict of thetadot's {name_of(flow)} (version {VERSION}). "
            "For a torch optimizer use HeavyBall.from_torch(sgd); else pass what state_dict() returned."
        )
    if own["integrator"] != name_of(flow.integrator):
        raise DamagedFile(
            f"the state dict is of integrator {own['integrator']}, this optimizer has {name_of(flow.integrator)}. "
            "Build the optimizer that was saved."
        )
    try:
        load({key: value for key, value in state_dict.items() if key != "thetadot"})
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise DamagedFile(f"the state dict does not fit this optimizer: {error}. Build it with the same parameters.") from error
    flow.key, flow.steps = int(own["key"]), int(own["steps"])
    _uncast(flow, state_dict)
    if own["convention"] != getattr(flow.integrator, "convention", None):
        _convert(flow, own["convention"])


def _uncast(flow: Flow, state_dict: dict[str, Any]) -> None:
    """torch casts state to the parameter's dtype; a float32 velocity of a bfloat16 parameter must stay float32."""
    saved = state_dict["state"]
    indices = [index for group in state_dict["param_groups"] for index in group["params"]]
    parameters = [p for group in flow.param_groups for p in group["params"]]
    for index, p in zip(indices, parameters, strict=True):
        for name, value in saved.get(index, {}).items():
            if isinstance(value, Tensor):
                flow.state[p][name] = value.detach().clone().to(p.device)


def _convert(flow: Flow, convention: str) -> None:
    """Keep the displacement of a step, drift·s, while the unit of s changes."""
    integrator = flow.integrator
    if not isinstance(integrator, MechanicalIntegrator):
        raise DamagedFile(f"convention={convention!r} does not fit {name_of(integrator)}. Build the optimizer that was saved.")
    source = copy.copy(integrator)
    object.__setattr__(source, "convention", convention)
    for group in flow.param_groups:
        pair = flow.motion(group)
        old, new = source.drift(source.prepare(*pair)), integrator.drift(integrator.prepare(*pair))
        if new == 0:
            raise InadmissibleValue(
                f"lr={group['lr']:g}: a velocity cannot be converted from {convention!r} where the clock stands still. "
                "Load at an lr > 0, or build the optimizer with that convention."
            )
        for p in group["params"]:
            if p in flow.state and "velocity" in flow.state[p]:
                flow.state[p]["velocity"] = flow.state[p]["velocity"] * (old / new)
            if p in flow.state and "shift" in flow.state[p]:
                flow.state[p]["shift"] = flow.state[p]["shift"] * (new / old) if old else 0.0
