"""Optimizers of mechanical systems: lr and momentum in ``param_groups``, step and friction behind them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Self, TypeVar

import torch

from thetadot.analysis.stability import stability_limit
from thetadot.core.failures import answering
from thetadot.core.reading import Reading
from thetadot.core.signatures import checked
from thetadot.core.tensors import accumulation_dtype, real_view, sqrt
from thetadot.core.validation import require_ranged
from thetadot.errors import InadmissibleValue, require
from thetadot.integrators.base import MechanicalIntegrator, name_of
from thetadot.integrators.leapfrog import CayleyMap
from thetadot.optim.engine.states import first_state
from thetadot.optim.flow import Flow
from thetadot.optim.groups import decayed, of_settings, reads, require_between
from thetadot.systems import DampedNewton, Kramers
from thetadot.systems.base import PerStep

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.optim.optimizer import ParamsT

    from thetadot.core.annotations import Scalar
    from thetadot.systems.base import System


class MechanicalFlow(Flow, ABC):
    """A velocity stepped against friction, in torch's words.

    The integrator's own map turns (lr, momentum) into a time step γ = √(α/gain) and a damping per step; neither divides
    by lr.
    """

    integrator: MechanicalIntegrator

    def __init__(
        self, params: ParamsT, integrator: MechanicalIntegrator, lr: Scalar, momentum: Scalar, **common: Any
    ) -> None:
        own = {"momentum": momentum} | common.pop("hyperparameters", {})
        super().__init__(params, None, integrator, lr, hyperparameters=own, **common)

    @classmethod
    @abstractmethod
    def _integrator(cls, **options: Any) -> MechanicalIntegrator:
        """The integrator that ``options`` ask for."""

    @classmethod
    @checked
    def from_physical(cls, params: ParamsT, *, step: Scalar, friction: Scalar, **options: Any) -> Self:
        """Build from a time step γ > 0 and a friction λ >= 0, by the integrator's own map.

        Raises:
            InadmissibleValue: λγ > 2 under the Cayley map, a negative momentum.
        """
        require(bool(0 < step < float("inf")), f"step={step:g}", "is not positive and finite", "Pass step > 0.")
        require_between("friction", friction)
        integrator = cls._integrator(**options)
        momentum = integrator.momentum(friction * step)
        require(
            bool(momentum >= 0),
            f"friction·step={friction * step:g}",
            f"is above 2: the momentum it stands for, {momentum:.3g}, is negative",
            "Pass friction·step <= 2.",
        )
        return cls(params, lr=integrator.gain(momentum) * step * step, momentum=momentum, **options)

    @answering
    def check(self, group: dict[str, Any]) -> None:
        """Require 0 <= momentum < 1 and temperature >= 0."""
        super().check(group)
        momentum = group["momentum"]
        if not (type(momentum) is float and 0 <= momentum < 1):
            require_ranged(momentum=momentum)
            require(
                bool(0 <= momentum < 1),
                f"momentum={momentum:g}",
                "is outside [0, 1): the friction it stands for is "
                + ("negative or none" if momentum >= 1 else "above 2/γ"),
                "Pass 0 <= momentum < 1, or use from_physical(step=, friction=) with friction·step <= 2.",
            )
        if "temperature" in group:
            require_between("temperature", group["temperature"])

    @answering
    @of_settings
    def motion(self, group: dict[str, Any]) -> tuple[System, Scalar]:
        """Damped Newton, or Kramers where the group has a temperature; its step by the integrator's map."""
        momentum = group["momentum"]
        friction = PerStep(self.integrator.damping(momentum))
        step = sqrt(group["lr"] / self.integrator.gain(momentum))
        if "temperature" in group:
            return Kramers(friction, group["temperature"]), step
        return DampedNewton(friction), step

    @reads
    def reading(self, group: dict[str, Any]) -> Reading:
        """Step, friction and the largest stable curvature of one group."""
        _, step = self.motion(group)
        damping, lr = float(self.integrator.damping(group["momentum"])), float(group["lr"])
        memory, lookahead = float(group["momentum"]), getattr(self.integrator, "lookahead", 0.0)
        ahead = lookahead > 0 or self.integrator.evaluation == "midpoint"
        limit = float("inf") if self.integrator.evaluation == "midpoint" else stability_limit(memory, lookahead)
        found = Reading(
            float(step),
            damping / float(step) if lr else float("inf"),
            limit / lr if lr else float("inf"),
            rate=None if ahead and memory else lr,
            memory=memory,
        )
        return decayed(found, group)


Adopted = TypeVar("Adopted", bound=MechanicalFlow)


def adopt(cls: Callable[..., Adopted], sgd: torch.optim.SGD, *, nesterov: bool, **options: Any) -> Adopted:
    """``cls`` with the parameters, hyperparameters and velocity of a torch.optim.SGD in mid-run."""
    if not isinstance(sgd, torch.optim.SGD):
        raise InadmissibleValue(f"sgd is of type {name_of(sgd)}. Pass a torch.optim.SGD.")
    if any(bool(group["nesterov"]) != nesterov for group in sgd.param_groups):
        other = "HeavyBall" if nesterov else "Nesterov"
        raise InadmissibleValue(f"sgd has nesterov={not nesterov}. Use {other}.from_torch, which is that method.")
    groups = [
        {
            "params": group["params"],
            # dampening multiplies the gradient inside the buffer: it is a smaller lr
            "lr": group["lr"] * (1.0 - group["dampening"]),
            "momentum": group["momentum"],
            "weight_decay": group["weight_decay"],
            "weight_decay_mode": "l2",
            "maximize": group["maximize"],
        }
        for group in sgd.param_groups
    ]
    flow = cls(groups, lr=groups[0]["lr"], momentum=groups[0]["momentum"], **options)
    for group, source in zip(flow.param_groups, sgd.param_groups, strict=True):
        scales = flow.integrator.prepare(*flow.motion(group))
        drift = flow.integrator.drift(scales)
        for p in group["params"]:
            buffer = sgd.state.get(p, {}).get("momentum_buffer")
            if buffer is None:
                continue
            if drift == 0:
                raise InadmissibleValue("lr=0: the velocity of a standing clock is not defined. Switch at an lr > 0.")
            buffer = real_view(buffer.detach())
            flow.state[p] = first_state(flow, p, group)
            flow.state[p]["velocity"] = buffer.to(accumulation_dtype(buffer)) * (-source["lr"] / drift)
            if isinstance(flow.integrator, CayleyMap):
                flow.state[p] |= {name: float(value) for name, value in flow.integrator.settled(scales).items()}
    return flow


def release(flow: MechanicalFlow, *, nesterov: bool) -> torch.optim.SGD:
    """The torch.optim.SGD that continues ``flow``."""
    for group in flow.param_groups:
        if group["weight_decay"] != 0 and group["weight_decay_mode"] != "l2":
            raise InadmissibleValue(
                f"weight_decay={group['weight_decay']:g} is decoupled, which torch.optim.SGD has not. "
                "Build with weight_decay_mode='l2'."
            )
        if group["lr"] == 0:
            raise InadmissibleValue("lr=0: torch's buffer of a standing clock is not defined. Switch at an lr > 0.")
    kept = ("params", "lr", "momentum", "weight_decay", "maximize")
    groups = [
        {name: group[name] for name in kept} | {"nesterov": nesterov and group["momentum"] > 0}
        for group in flow.param_groups
    ]
    sgd = torch.optim.SGD(groups, lr=groups[0]["lr"])
    for group in flow.param_groups:
        drift = flow.integrator.drift(flow.integrator.prepare(*flow.motion(group)))
        for p in group["params"]:
            if p in flow.state and group["momentum"] > 0:
                buffer = flow.state[p]["velocity"] * (-drift / group["lr"])
                buffer = torch.view_as_complex(buffer) if p.is_complex() else buffer
                sgd.state[p] = {"momentum_buffer": buffer.to(p.dtype)}
    return sgd
