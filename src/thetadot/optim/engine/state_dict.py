"""Our part of a state dict: the integrator's options, the noise key and the step count."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from thetadot.core.tensors import real_view
from thetadot.errors import DamagedFile, InadmissibleValue, ThetadotError
from thetadot.fusion.nested_numbers import is_number
from thetadot.integrators.base import MechanicalIntegrator, name_of
from thetadot.integrators.leapfrog import CayleyMap
from thetadot.integrators.lookahead import LookAhead
from thetadot.optim.engine.shards import alike
from thetadot.optim.engine.states import dtype_of, variables
from thetadot.optim.groups import own_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from thetadot.integrators.base import Integrator
    from thetadot.integrators.leapfrog import Convention
    from thetadot.optim.engine.host import Host

VERSION = 2
OWN = "thetadot"


def pack_state_dict(host: Host, state_dict: dict[str, Any]) -> dict[str, Any]:
    """Return torch's state dict, with what the rule carries in every group, where tools that move state dicts keep it.

    Numbers and strings only, so that ``torch.load(weights_only=True)`` takes them.
    """
    groups = [group | {OWN: _own_part(host)} for group in state_dict["param_groups"]]
    return state_dict | {"param_groups": groups}


def _own_part(host: Host) -> dict[str, Any]:
    return {
        "version": VERSION,
        "optimizer": name_of(host),
        "integrator": name_of(host.integrator),
        "options": _options(host.integrator),
        "convention": _convention(host.integrator),
        "key": host.key,
        "steps": host.steps,
    }


def restore_state_dict(host: Host, state_dict: dict[str, Any], load: Callable[[dict[str, Any]], None]) -> None:
    """Check, load by torch's own method, then put back what it would have cast, and convert the velocity.

    Whatever fails, the optimizer is as before.
    """
    own = _require_ours(host, state_dict)
    before = {"state": host.state, "param_groups": host.param_groups}
    try:
        state_dict = by_name(host, state_dict)
        groups = [{name: value for name, value in group.items() if name != OWN} for group in state_dict["param_groups"]]
        for group in groups:
            # torch adds "differentiable" to the defaults of an optimizer that was copied or loaded into
            if missing := sorted(host.defaults.keys() - group.keys() - {"differentiable"}):
                raise DamagedFile(f"a group lacks {', '.join(missing)}. Pass what state_dict() returned.")
        load(state_dict | {"param_groups": groups})
        mark_groups(host)
        held: set[int] = set()
        for group in host.param_groups:
            group.update(own_settings(group, held))
            host.check(group)
        _uncast(host, state_dict)
        if own["convention"] != _convention(host.integrator):
            _convert(host, own["convention"])
        key, steps = _count("key", own["key"]), _count("steps", own["steps"])
    except ThetadotError:
        host.__setstate__(before)
        raise
    except (ValueError, KeyError, AttributeError, TypeError, IndexError, RuntimeError, OverflowError) as error:
        host.__setstate__(before)
        said = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise DamagedFile(
            f"the state dict does not fit this optimizer: {said}. Build it with the same parameters, and pass what "
            "state_dict() returned."
        ) from error
    host.key, host.steps = key, steps


def _count(name: str, value: Any) -> int:
    """A count that 63 bits hold."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 63:
        raise DamagedFile(f"{name}={value!r} is no count from 0 to 2⁶³. Pass what state_dict() returned.")
    return value


def mark_groups(host: Host) -> None:
    """Name in the live groups what is filled in when they are saved.

    torch.distributed.checkpoint gives back of a flattened group only words that the live group has.
    """
    for group in host.param_groups:
        group[OWN] = None


def _options(integrator: Integrator) -> str:
    """Write an integrator's options as text, without the convention, which can be converted.

    A string, because tools that flatten state dicts lose a dict that is empty.
    """
    if not dataclasses.is_dataclass(integrator):
        return ""
    names = [field.name for field in dataclasses.fields(integrator) if field.name != "convention"]
    return ", ".join(f"{name}={getattr(integrator, name)!r}" for name in names)


def _convention(integrator: Integrator) -> str | None:
    return integrator.convention if isinstance(integrator, CayleyMap) else None


def _require_ours(host: Host, state_dict: dict[str, Any]) -> dict[str, Any]:
    """Return the part that :func:`pack_state_dict` wrote; refuse another integrator's, or groups that differ."""
    groups = state_dict.get("param_groups") if isinstance(state_dict, dict) else None
    found = [group.get(OWN) for group in groups if isinstance(group, dict)] if isinstance(groups, list) else []
    own = found[0] if found else None
    if not isinstance(own, dict) or own.get("version") != VERSION:
        adopter = name_of(host) if hasattr(host, "from_torch") else "HeavyBall"
        raise DamagedFile(
            f"this is not a state dict of thetadot's {name_of(host)} (version {VERSION}). "
            f"For a torch optimizer use {adopter}.from_torch(optimizer); else pass what state_dict() returned."
        )
    mine = _own_part(host)
    if missing := sorted(mine.keys() - own.keys()):
        raise DamagedFile(f"the state dict lacks {', '.join(missing)}. Pass what state_dict() returned.")
    # Each rank of a run without noise has a key of its own, and a file written by many may hold several of them.
    if any(not isinstance(other, dict) or other | {"key": own["key"]} != own for other in found):
        raise DamagedFile("the groups of the state dict come from different runs. Pass what state_dict() returned.")
    if (own["integrator"], own["options"]) != (mine["integrator"], mine["options"]):
        raise DamagedFile(
            f"the state dict is of integrator {own['integrator']}({own['options']}), this optimizer has "
            f"{mine['integrator']}({mine['options']}). Build the optimizer that was saved."
        )
    return own


def by_name(host: Host, state_dict: dict[str, Any]) -> dict[str, Any]:
    """The state dict in the order of ``host``'s parameters, where both know their names.

    Raises:
        DamagedFile: the names are not the same.
    """
    groups = state_dict["param_groups"]
    if not all("param_names" in group for group in [*groups, *host.param_groups]):
        return state_dict
    saved = {
        name: (index, group)
        for group in groups
        for name, index in zip(group["param_names"], group["params"], strict=True)
    }
    wanted = [name for group in host.param_groups for name in group["param_names"]]
    if saved.keys() != set(wanted):
        strange = sorted(saved.keys() ^ set(wanted))
        raise DamagedFile(
            f"the state dict and this optimizer differ in parameters {', '.join(strange[:5])}"
            f"{', ...' if len(strange) > 5 else ''}. Build the optimizer with the model that was saved."
        )
    ordered = []
    for group in host.param_groups:
        names = group["param_names"]
        sources = {id(saved[name][1]): saved[name][1] for name in names}
        if len(sources) > 1:
            raise DamagedFile(
                f"parameters {names[0]} ... {names[-1]} were saved in {len(sources)} groups and are one here. "
                "Build the optimizer with the groups that were saved."
            )
        source = next(iter(sources.values()), group)
        ordered.append(source | {"params": [saved[name][0] for name in names], "param_names": names})
    return state_dict | {"param_groups": ordered}


def _uncast(host: Host, state_dict: dict[str, Any]) -> None:
    """Put the saved tensors back.

    torch casts state to the parameter's dtype; a float32 velocity of a bfloat16 parameter must stay float32.
    """
    saved = state_dict["state"]
    indices = iter([index for group in state_dict["param_groups"] for index in group["params"]])
    for group in host.param_groups:
        for p, index in zip(group["params"], indices, strict=False):
            values = saved.get(index)
            if values is None:
                continue
            names, numbers = variables(host, p, group)
            if set(values) != names:
                raise DamagedFile(
                    f"parameter {index} was saved with {sorted(values)}, this optimizer has {sorted(names)}. "
                    "Build the optimizer that was saved."
                )
            for name, value in values.items():
                host.state[p][name] = (
                    _saved_number(host, p, index, name, value)
                    if name in numbers
                    else _saved_tensor(p, index, name, value)
                )


def _saved_number(host: Host, p: Tensor, index: Any, name: str, value: Any) -> Any:
    if not is_number(value) or not math.isfinite(float(value)):
        raise DamagedFile(
            f"parameter {index} was saved with {name}={value!r}, which is no finite number. "
            "Pass what state_dict() returned."
        )
    if host.options.capturable:
        return torch.as_tensor(value, dtype=torch.float64).to(p.device, copy=True)
    return value.detach().clone() if isinstance(value, Tensor) else value


def _saved_tensor(p: Tensor, index: Any, name: str, value: Tensor) -> Tensor:
    position = real_view(p.detach())
    if not isinstance(value, Tensor) or value.layout is not torch.strided or not value.is_floating_point():
        kind = f"{value.layout} of {value.dtype}" if isinstance(value, Tensor) else type(value).__name__
        raise DamagedFile(
            f"parameter {index} was saved with a {name} that is {kind}, no dense tensor of floats. "
            "Pass what state_dict() returned."
        )
    if value.shape != position.shape:
        raise DamagedFile(
            f"parameter {index} was saved with {name} of shape {tuple(value.shape)}, here it has "
            f"{tuple(position.shape)}. Build the model that was saved."
        )
    if not alike(position, value):
        raise DamagedFile(
            f"parameter {index} is spread over ranks differently in the state dict and here. "
            "Save and load with torch.distributed.checkpoint, which spreads it anew."
        )
    return value.detach().to(position.device, dtype_of(name, p), copy=True)


def _convert(host: Host, convention: str) -> None:
    """Keep the displacement of a step, drift·s, while the unit of s changes."""
    integrator = host.integrator
    if not isinstance(integrator, CayleyMap) or not isinstance(integrator, MechanicalIntegrator):
        raise DamagedFile(
            f"convention={convention!r} does not fit {name_of(integrator)}. Build the optimizer that was saved."
        )
    source = dataclasses.replace(integrator, convention=cast("Convention", convention))  # prepare refuses others
    for group in host.param_groups:
        pair = host.motion(group)
        scales = source.prepare(*pair)
        old, new = source.drift(scales), integrator.drift(integrator.prepare(*pair))
        moving = [host.state[p] for p in group["params"] if p in host.state]
        if moving and (old == 0 or new == 0):
            raise InadmissibleValue(
                f"lr={group['lr']:g}: a velocity cannot be converted from {convention!r} where the clock is stopped. "
                "Load at an lr > 0, or build the optimizer with that convention."
            )
        for state in moving:
            if isinstance(source, LookAhead):
                state["shift"] = source.shift(scales, state) * (new / old)
            state["velocity"] = state["velocity"] * (old / new)
