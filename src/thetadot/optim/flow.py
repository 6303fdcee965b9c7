r"""An optimizer is a system, an integrator and a list of parameters.

    state' = integrator.advance(scales, state, ∇L, noise)

:class:`Flow` holds the only ``step`` of the house. Hyperparameters live in ``param_groups`` under torch's names, so
that every scheduler works; each step they are reduced to a system and a time step once per group, and the
integrator's pure rule runs on each tensor. ``p.grad`` is never changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import Tensor
from torch.optim import Optimizer

from thetadot.errors import InadmissibleValue, IncompatiblePair, MissingClosure, require
from thetadot.integrators.base import MechanicalIntegrator, initial_state, name_of
from thetadot.optim.groups import HYPERPARAMETERS, refuse, split_decay
from thetadot.optim.implicit import solve_midpoint
from thetadot.optim.packing import pack, restore
from thetadot.optim.replay import replayable
from thetadot.random import derive, normal
from thetadot.systems.base import POSITION, noisy
from thetadot.tensors import accumulation_dtype, real_view, tensor_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch.optim.optimizer import ParamsT

    from thetadot.integrators.base import Integrator
    from thetadot.systems.base import System
    from thetadot.typing import Draw, Scalar, State

DecayMode = Literal["decoupled", "l2"]
Start = Literal["zero", "rest"]

_COMMON = ("weight_decay", "weight_decay_mode", "no_decay", "maximize", "start")


class Flow(Optimizer):
    r"""Step any system by any integrator.

    Weight decay, wd: "decoupled" shrinks a parameter by lr·wd a step before the rule acts; "l2" adds wd·θ to the
    gradient, which with momentum shrinks by lr·wd/(1-β) in the long run: ten times more at β = .9.

    Args:
        params: as for torch.optim.
        system: what moves.
        integrator: how it is stepped.
        step: time step γ >= 0; ``lr`` in ``param_groups``.
        weight_decay: wd >= 0.
        weight_decay_mode: "decoupled" or "l2".
        no_decay: parts of parameter names that weight decay leaves alone, such as ("bias", "norm", "embedding"); give
            named parameters.
        maximize: climb instead of descend.
        start: "zero" velocity, or "rest": half a kick before the first step, which makes staggered schemes second
            order.
        generator: gives the 64-bit key of the noise, once, if there is any; torch's default one if None. The noise
            itself is counter-based and consumes nothing.
        hyperparameters: what ``param_groups`` hold besides; named optimizers put ``momentum`` and the like there.
        unknown: nothing; a keyword that is none of these is refused.

    Raises:
        IncompatiblePair: the integrator cannot step the system, or a keyword means nothing to them.
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
        hyperparameters: Mapping[str, Any] | None = None,
        **unknown: Any,
    ) -> None:
        own = dict(hyperparameters or {})
        refuse(name_of(self), unknown, ("lr", *own, *_COMMON))
        if start not in ("zero", "rest"):
            raise InadmissibleValue(f"start={start!r} is unknown. Pass 'zero' or 'rest'.")
        if start == "rest" and not isinstance(integrator, MechanicalIntegrator):
            raise IncompatiblePair(f"start='rest' is a velocity's, and {name_of(integrator)} has none. Leave it out.")
        self.system = system
        self.integrator = integrator
        self.start = start
        self.steps = 0
        self.key = 0
        defaults = {"lr": step, "weight_decay": weight_decay, "weight_decay_mode": weight_decay_mode} | own
        defaults["maximize"] = maximize
        super().__init__(split_decay(params, no_decay) if no_decay else params, defaults)
        if "temperature" in own or (system is not None and noisy(system)):
            device = generator.device if generator else "cpu"
            self.key = int(torch.randint(2**63 - 1, (), generator=generator, device=device))

    def motion(self, group: dict[str, Any]) -> tuple[System, Scalar]:
        """The system and the time step that a group's hyperparameters stand for."""
        if self.system is None:
            raise InadmissibleValue("system=None needs a subclass that defines motion(group). Pass a system.")
        return self.system, group["lr"]

    def check(self, group: dict[str, Any]) -> None:
        """Raise InadmissibleValue where a group's hyperparameters are out of range; extended by named optimizers."""
        finite("lr", group["lr"])
        finite("weight_decay", group["weight_decay"])
        mode = group["weight_decay_mode"]
        if mode not in ("decoupled", "l2"):
            raise InadmissibleValue(f"weight_decay_mode={mode!r} is unknown. Pass 'decoupled' or 'l2'.")

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with hyperparameters of their own, checked first."""
        refuse(name_of(self), HYPERPARAMETERS & (param_group.keys() - self.defaults.keys()), self.defaults)
        group = {**self.defaults, **param_group}
        self.check(group)
        self.integrator.prepare(*self.motion(group))
        super().add_param_group(param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of every parameter that has a gradient.

        Args:
            closure: recomputes the loss and its gradients. Called once with grad enabled before the first stage, and
                again only by integrators that take further gradients, with the same random numbers (dropout masks)
                each time.

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
                f"integrator={name_of(self.integrator)} needs more than one gradient a step, but step() got no "
                "closure. Pass a closure, or use an integrator of one gradient, such as Leapfrog() or "
                "Splitting('BAOAB')."
            )
        if implicit:
            self._solve(evaluate)
        else:
            for stage in range(self.integrator.stages):
                if stage:
                    evaluate()
                for index, p, group, scales in list(self._moving()):
                    self._store(p, self._advance(index, p, group, scales, stage=stage))
        self.steps += 1
        return loss

    def position(self) -> dict[Tensor, Tensor]:
        """θ of every parameter: the parameter itself, except for look-ahead, whose gradient is taken ahead of θ."""
        found = {}
        for group in self.param_groups:
            scales = self.integrator.prepare(*self.motion(group))
            for p in group["params"]:
                theta = real_view(p.detach())
                if p in self.state:
                    theta = self.integrator.position(scales, {POSITION: theta, **self.state[p]})
                found[p] = torch.view_as_complex(theta) if p.is_complex() else theta
        return found

    # How one tensor is stepped.

    def _moving(self) -> Iterator[tuple[int, Tensor, dict[str, Any], Any]]:
        """Index, parameter, group and scalars of all that have a gradient."""
        index = 0
        for group in self.param_groups:
            scales = self.integrator.prepare(*self.motion(group))
            for p in group["params"]:
                if p.grad is not None:
                    if p.grad.layout is not torch.strided:
                        raise InadmissibleValue(
                            f"parameter {index} of shape {tuple(p.shape)} has a sparse gradient: momentum and decay "
                            "move every element. Build the embedding with sparse=False, or give it "
                            "torch.optim.SparseAdam."
                        )
                    yield index, p, group, scales
                index += 1

    def _advance(
        self, index: int, p: Tensor, group: dict[str, Any], scales: Any, *, stage: int = 0, at: Tensor | None = None
    ) -> State:
        """The state of ``p`` after one stage; nothing is written but a first state.

        ``at`` is where p.grad was taken, if elsewhere than at p.
        """
        gradient = self._gradient(p, group, p if at is None else at)
        if p not in self.state:
            self.state[p] = self._first(p, group, scales, gradient)
        position = self._origin(p, group) if stage == 0 else real_view(p.detach())
        state = {POSITION: position, **self.state[p]}
        return self.integrator.advance(scales, state, gradient, self._draw(index, position, stage), stage)

    def _gradient(self, p: Tensor, group: dict[str, Any], at: Tensor) -> Tensor:
        """∇L as the rule takes it, l2 decay included: that is a quadratic added to the loss."""
        at = real_view(at.detach())
        gradient = real_view(cast("Tensor", p.grad)).to(accumulation_dtype(at))
        if group["maximize"]:
            gradient = -gradient
        decays = group["weight_decay_mode"] == "l2" and group["weight_decay"] != 0
        return gradient + group["weight_decay"] * at if decays else gradient

    def _origin(self, p: Tensor, group: dict[str, Any]) -> Tensor:
        """Where the rule starts from: the parameter, after decoupled decay."""
        position = real_view(p.detach())
        decays = group["weight_decay_mode"] == "decoupled" and group["weight_decay"] != 0
        return position * (1.0 - group["lr"] * group["weight_decay"]) if decays else position

    def _first(self, p: Tensor, group: dict[str, Any], scales: Any, gradient: Tensor) -> State:
        system, _ = self.motion(group)
        first = initial_state(system, self.integrator, real_view(p.detach()))
        if self.start == "rest":
            velocity = cast("MechanicalIntegrator", self.integrator).at_rest(scales, gradient)
            first["velocity"] = velocity.to(tensor_of(first, "velocity").dtype)
        return {name: value for name, value in first.items() if name != POSITION}

    def _store(self, p: Tensor, state: State) -> None:
        real_view(p.detach()).copy_(tensor_of(state, POSITION))
        kept = self.state[p]
        for name, value in state.items():
            if name != POSITION:
                old = kept.get(name)
                # hyperparameters in wider tensors must not widen the state of a 0-dim parameter
                tensors = isinstance(value, Tensor) and isinstance(old, Tensor)
                kept[name] = cast("Tensor", value).to(cast("Tensor", old).dtype) if tensors else value

    def _solve(self, evaluate: Callable[[], Any]) -> None:
        """The implicit step; if it fails, no state is begun."""
        moving = list(self._moving())
        fresh = [p for _, p, _, _ in moving if p not in self.state]
        try:
            solve_midpoint(moving, self._advance, self._origin, self._store, evaluate)
        except BaseException:
            for p in fresh:
                self.state.pop(p, None)
            raise

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
        """Torch's state dict, and under "thetadot" what the rule itself carries: convention, noise key, steps."""
        return super().state_dict() | {"thetadot": pack(self)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue exactly where ``state_dict`` was taken; a velocity of another convention is converted.

        Raises:
            DamagedFile: not the state dict of such an optimizer.
            InadmissibleValue: its hyperparameters are not admissible, or its velocity cannot be converted at lr = 0.
                Nothing is changed in either case.
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
