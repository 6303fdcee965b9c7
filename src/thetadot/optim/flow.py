r"""An optimizer is a system, an integrator and a list of parameters.

    state' = integrator.advance(scales, state, ∇L, noise)

:class:`Flow` holds the only ``step`` of the house. Hyperparameters live in ``param_groups`` under torch's names, so that every
scheduler works; each step they are reduced to a system and a time step once per group, and the integrator's pure rule runs on
each tensor. ``p.grad`` is never changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from thetadot.errors import InadmissibleValue, MissingClosure, require
from thetadot.integrators.base import MechanicalIntegrator, initial_state, name_of
from thetadot.optim.groups import split_decay
from thetadot.optim.implicit import solve_midpoint
from thetadot.optim.packing import pack, restore
from thetadot.optim.replay import replayable
from thetadot.random import derive, normal
from thetadot.systems.base import POSITION
from thetadot.tensors import accumulation_dtype, real_view

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch.optim.optimizer import ParamsT

    from thetadot.integrators.base import Integrator
    from thetadot.systems.base import System
    from thetadot.typing import Draw, Scalar, State

DecayMode = Literal["decoupled", "l2"]
Start = Literal["zero", "rest"]


class Flow(Optimizer):
    r"""Step any system by any integrator.

    Weight decay, wd: "decoupled" shrinks a parameter by lr·wd a step before the rule acts; "l2" adds wd·θ to the gradient, which
    with momentum shrinks by lr·wd/(1-β) in the long run: ten times more at β = .9.

    Args:
        params: as for torch.optim.
        system: what moves.
        integrator: how it is stepped.
        step: time step γ >= 0; ``lr`` in ``param_groups``.
        weight_decay: wd >= 0.
        weight_decay_mode: "decoupled" or "l2".
        no_decay: parts of parameter names that weight decay leaves alone, such as ("bias", "norm", "embedding"); give named parameters.
        maximize: climb instead of descend.
        start: "zero" velocity, or "rest": half a kick before the first step, which makes staggered schemes second order.
        generator: gives the 64-bit key of the noise, once; torch's default one if None. The noise itself is counter-based
            and consumes nothing.

    Raises:
        IncompatiblePair: the integrator cannot step the system.
        InadmissibleValue: a hyperparameter out of range.
        MissingClosure: from ``step()``, where a step needs more gradients than p.grad holds.

    Example:
        >>> from thetadot.integrators import Euler
        >>> from thetadot.systems import GradientFlow
        >>> p = torch.ones(1, requires_grad=True)
        >>> flow = Flow([p], GradientFlow(), Euler(), step=0.1)
        >>> (p * p).sum().backward(); flow.step(); p.data
        tensor([0.8000])
    """

    def __init__(
        self,
        params: ParamsT,
        system: System | None,
        integrator: Integrator,
        step: Scalar,
        *,
        weight_decay: float = 0.0,
        weight_decay_mode: DecayMode = "decoupled",
        no_decay: Sequence[str] = (),
        maximize: bool = False,
        start: Start = "zero",
        generator: torch.Generator | None = None,
        **hyperparameters: Any,
    ) -> None:
        if weight_decay_mode not in ("decoupled", "l2"):
            raise InadmissibleValue(f"weight_decay_mode={weight_decay_mode!r} is unknown. Pass 'decoupled' or 'l2'.")
        if start not in ("zero", "rest"):
            raise InadmissibleValue(f"start={start!r} is unknown. Pass 'zero' or 'rest'.")
        self.system = system
        self.integrator = integrator
        self.start = start
        self.steps = 0
        self.key = int(torch.randint(2**63 - 1, (), generator=generator, device=generator.device if generator else "cpu"))
        defaults = {
            "lr": step,
            "weight_decay": weight_decay,
            "weight_decay_mode": weight_decay_mode,
            "maximize": maximize,
            **hyperparameters,
        }
        super().__init__(split_decay(params, no_decay) if no_decay else params, defaults)

    def motion(self, group: dict[str, Any]) -> tuple[System, Scalar]:
        """The system and the time step that a group's hyperparameters stand for."""
        if self.system is None:
            raise InadmissibleValue("system=None needs a subclass that defines motion(group). Pass a system.")
        return self.system, group["lr"]

    def check(self, group: dict[str, Any]) -> None:
        """Raise InadmissibleValue where a group's hyperparameters are out of range; extended by named optimizers."""
        finite("lr", group["lr"])
        finite("weight_decay", group["weight_decay"])

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with hyperparameters of their own, checked first."""
        group = {**self.defaults, **param_group}
        self.check(group)
        self.integrator.prepare(*self.motion(group))
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """One step of every parameter that has a gradient.

        Args:
            closure: recomputes the loss and its gradients. Called once with grad enabled before the first stage, and again only by
                integrators that take further gradients, with the same random numbers (dropout masks) each time.

        Returns:
            The closure's loss; None without one.
        """
        implicit = self.integrator.evaluation == "midpoint"
        loss = None
        if closure is not None:
            evaluate = replayable(closure, self._devices())
            loss = evaluate()
        elif implicit or self.integrator.stages > 1:
            raise MissingClosure(
                f"integrator={name_of(self.integrator)} needs more than one gradient a step, but step() got no closure. "
                "Pass a closure, or use an integrator of one gradient such as Leapfrog() or Splitting('BAOAB')."
            )
        if implicit:
            solve_midpoint(list(self._moving()), self._advance, self._store, evaluate)
        else:
            for stage in range(self.integrator.stages):
                if stage:
                    evaluate()
                for index, p, group, scales in list(self._moving()):
                    self._store(p, self._advance(index, p, group, scales, stage))
        self.steps += 1
        return loss

    def position(self) -> dict[Tensor, Tensor]:
        """θ of every parameter: the parameter itself, except for look-ahead, whose gradient is taken ahead of θ."""
        found = {}
        for group in self.param_groups:
            scales = self.integrator.prepare(*self.motion(group))
            for p in group["params"]:
                state = self.state.get(p)
                theta = p.detach() if not state else self.integrator.position(scales, {POSITION: real_view(p.detach()), **state})
                found[p] = torch.view_as_complex(theta) if p.is_complex() and not theta.is_complex() else theta
        return found

    # How one tensor is stepped.

    def _moving(self) -> Iterator[tuple[int, Tensor, dict[str, Any], Any]]:
        """Index, parameter, group and scalars of all that have a gradient."""
        index = 0
        for group in self.param_groups:
            scales = self.integrator.prepare(*self.motion(group))
            for p in group["params"]:
                if p.grad is not None:
                    if p.grad.is_sparse:
                        raise InadmissibleValue(
                            f"parameter {index} of shape {tuple(p.shape)} has a sparse gradient: momentum and decay move every "
                            "element. Build the embedding with sparse=False, or give it torch.optim.SparseAdam."
                        )
                    yield index, p, group, scales
                index += 1

    def _advance(self, index: int, p: Tensor, group: dict[str, Any], scales: Any, stage: int = 0) -> State:
        """The state of ``p`` after one stage; nothing is written but a first state."""
        position, gradient = real_view(p.detach()), real_view(p.grad)  # type: ignore[arg-type]
        if gradient.dtype != accumulation_dtype(position):
            gradient = gradient.to(accumulation_dtype(position))
        if group["maximize"]:
            gradient = -gradient
        if p not in self.state:
            first = initial_state(*self._pair(group), position)
            if self.start == "rest" and isinstance(self.integrator, MechanicalIntegrator):
                first["velocity"] = self.integrator.at_rest(scales, gradient)
            del first[POSITION]
            self.state[p] = first
        if stage == 0 and group["weight_decay"] != 0:
            if group["weight_decay_mode"] == "l2":
                gradient = gradient + group["weight_decay"] * position
            else:
                position = position * (1.0 - group["lr"] * group["weight_decay"])
        state = {POSITION: position, **self.state[p]}
        return self.integrator.advance(scales, state, gradient, self._draw(index, position, stage), stage)

    def _store(self, p: Tensor, state: State) -> None:
        real_view(p.detach()).copy_(state.pop(POSITION))  # type: ignore[arg-type]
        self.state[p].update(state)

    def _pair(self, group: dict[str, Any]) -> tuple[System, Integrator]:
        return self.motion(group)[0], self.integrator

    def _draw(self, index: int, like: Tensor, stage: int) -> Draw:
        """Noise as a function of (key, step, parameter, draw, element)."""
        drawn = 0

        def draw() -> Tensor:
            nonlocal drawn
            drawn += 1
            return normal(like, derive(self.key, self.steps, index, stage, drawn), accumulation_dtype(like))

        return draw

    def _devices(self) -> set[torch.device]:
        return {p.device for group in self.param_groups for p in group["params"]}

    # What is saved.

    def state_dict(self) -> dict[str, Any]:
        """torch's state dict, and under "thetadot" what the rule itself carries: convention, noise key, steps."""
        return super().state_dict() | {"thetadot": pack(self)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue exactly where ``state_dict`` was taken; a velocity of another convention is converted.

        Raises:
            DamagedFile: not the state dict of such an optimizer. Nothing is changed then.
        """
        restore(self, state_dict, super().load_state_dict)

    def __getstate__(self) -> dict[str, Any]:
        own = ("system", "integrator", "start", "steps", "key")
        return super().__getstate__() | {name: self.__dict__[name] for name in own}


def finite(name: str, value: Scalar, below: float = float("inf")) -> None:
    """Raise InadmissibleValue unless 0 <= value < below."""
    require(
        bool(0 <= value < below),
        f"{name}={value:g}",
        f"is outside [0, {below:g})" if below < float("inf") else "is negative or not finite",
        f"Pass {name} >= 0" + (f" and < {below:g}." if below < float("inf") else "."),
    )
