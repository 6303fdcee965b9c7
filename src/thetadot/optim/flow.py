r"""An optimizer is a system, an integrator and a list of parameters.

    state' = integrator.advance(scales, state, ∇L, noise)

:class:`Flow` holds the only ``step`` of the house. Hyperparameters live in ``param_groups`` under torch's names, so
that every scheduler works; each step they are reduced to a system and a time step once per group, and the
integrator's pure rule, in the frame of :mod:`move`, runs on each tensor. ``p.grad`` is never changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from torch.optim import Optimizer

from thetadot.core.failures import answering
from thetadot.core.rounding import NARROW
from thetadot.core.tensors import real_view
from thetadot.core.validation import require_instances, require_word, said_of
from thetadot.errors import InadmissibleValue, IncompatiblePair, MissingClosure
from thetadot.integrators.adaptive import Embedded
from thetadot.integrators.base import Integrator, name_of
from thetadot.optim.averaging import averages
from thetadot.optim.engine import ranks
from thetadot.optim.engine.implicit import solve_midpoint
from thetadot.optim.engine.noise import NoiseKey
from thetadot.optim.engine.replay import replayable
from thetadot.optim.engine.runner import StepRunner
from thetadot.optim.engine.shards import is_sharded, local, spread
from thetadot.optim.engine.state_dict import mark_groups, pack_state_dict, restore_state_dict
from thetadot.optim.engine.states import first_state
from thetadot.optim.groups import (
    HYPERPARAMETERS,
    flag,
    name_parts,
    own_settings,
    refuse_unknown,
    require_between,
    require_floats,
    require_params,
    split_decay,
)
from thetadot.optim.options import Options
from thetadot.optim.problem_force import force_of, require_agreement
from thetadot.systems import Problem
from thetadot.systems.base import POSITION, System, noisy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from torch import Tensor
    from torch.optim.optimizer import ParamsT

    from thetadot.core.annotations import Scalar
    from thetadot.optim.engine.move import Decay


class Flow(Optimizer):
    r"""Step any system by any integrator.

    Weight decay, wd: "decoupled" shrinks a parameter by lr·wd a step before the rule acts; "l2" adds wd·θ to the
    gradient, which with momentum shrinks by lr·wd/(1-β) in the long run: ten times more at β = .9.

    Where a rule needs a norm or the loss of everything, that is taken over a parameter group: groups are separate
    optimizers.

    Args:
        params: as for torch.optim.
        system: what moves; or a :class:`Problem`, which is a system and the potential it moves in.
        integrator: how it is stepped.
        step: time step γ >= 0; ``lr`` in ``param_groups``. Of a tensor that is given for several groups, here as for
            every other number, the first keeps it and each of the others gets a copy.
        problem: the same for named optimizers, whose settings must agree with it. ``step()`` then takes the force from
            the potential, at every parameter as positions (..., dim), leaves it in ``p.grad`` and returns the loss
            summed over positions; no backward() is needed.
        weight_decay: wd >= 0.
        weight_decay_mode: "decoupled" or "l2". Optimizers with a temperature take "l2" by default: it adds wd|θ|²/2 to
            the loss whose law they sample; the decoupled one samples no law of that kind. All others "decoupled".
        no_decay: parts of parameter names that weight decay leaves alone, such as ("bias", "norm", "embedding"); give
            named parameters.
        maximize: climb instead of descend.
        averaging: d in [0, 1], or None for no average. Keeps a = Σ dᵏθ₋ₖ / Σ dᵏ beside every parameter: the debiased
            exponential mean of memory 1/(1-d) steps; at d = 1 the mean of all iterates (Polyak-Ruppert). Used by
            ``with optimizer.averaged():``.
        generator: gives the 64-bit key of the noise, once, if there is any; torch's default one if None. The noise
            itself is counter-based and consumes nothing. Where ranks train together they share that of rank 0.
        hyperparameters: what ``param_groups`` hold besides; named optimizers put ``momentum`` and the like there.
        options: ``start``, ``low_precision``, ``differentiable``, ``capturable``, ``compile``; see :class:`Options`. A
            keyword that is none of these is refused.

    Raises:
        IncompatiblePair: the integrator cannot step the system, a keyword means nothing to them, or a problem has noise
            and the rule none.
        InadmissibleValue: a hyperparameter out of range, or another than the problem's.
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
        system: System | Problem | None,
        integrator: Integrator,
        step: Scalar,
        *,
        problem: Problem | None = None,
        weight_decay: float = 0.0,
        weight_decay_mode: Decay | None = None,
        no_decay: Sequence[str] = (),
        maximize: bool = False,
        averaging: Scalar | None = None,
        generator: torch.Generator | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        if isinstance(system, Problem):
            problem, system = system, system.system
        if system is not None:
            require_instances(System, system=system)
        if isinstance(integrator, Embedded):  # it says itself that it takes no step
            integrator.prepare(cast("System", system), step)
        require_instances(Integrator, integrator=integrator)
        if hyperparameters is not None:
            require_instances(Mapping, hyperparameters=hyperparameters)
        own = dict(hyperparameters or {})
        self._stochastic = "temperature" in own or (system is not None and noisy(system))
        mode = weight_decay_mode if weight_decay_mode is not None else ("l2" if self._stochastic else "decoupled")
        defaults = {"lr": step, "weight_decay": weight_decay, "weight_decay_mode": mode} | own
        defaults |= {"maximize": maximize, "averaging": averaging}
        refuse_unknown(name_of(self), options.keys() - Options.names(), (*defaults, "no_decay", *Options.names()))
        self.system, self.integrator, self.problem = system, integrator, problem
        self.options = Options(**{"low_precision": "kahan" if self._stochastic else "stochastic"} | options)
        self.options.check(integrator)
        if self.options.differentiable:
            defaults["differentiable"] = True  # torch then takes parameters that are no leaves
        self.noise = NoiseKey()
        self._swapped = False
        self.ticks = torch.zeros((), dtype=torch.int64)
        self._runner = StepRunner()
        parts = name_parts(no_decay)
        if generator is not None:
            require_instances(torch.Generator, generator=generator)
        kept = own_settings(defaults, {id(value) for value in defaults.values()})
        super().__init__(split_decay(params, parts) if parts else require_params(params), defaults)
        self.defaults.update(kept)  # what a group added later begins with is no other group's tensor
        if problem is not None:
            require_agreement(self, problem)
        if self._stochastic or generator is not None:
            device = generator.device if generator else "cpu"
            self.noise.key = int(torch.randint(2**63 - 1, (), generator=generator, device=device))
        else:  # only rounding is random then; the default generator stays as it is
            self.noise.key = torch.initial_seed() & (2**63 - 1)
        if self.options.capturable:
            self.ticks = self.ticks.to(next(iter(self._devices())))

    @answering
    def motion(self, group: dict[str, Any]) -> tuple[System, Scalar]:
        """The system and the time step that a group's hyperparameters stand for."""
        if self.system is None:
            raise InadmissibleValue("system=None needs a subclass that defines motion(group). Pass a system.")
        return self.system, group["lr"]

    @answering
    def check(self, group: dict[str, Any]) -> None:
        """Raise InadmissibleValue where a group's hyperparameters are out of range; extended by named optimizers."""
        require_between("lr", group["lr"])
        require_between("weight_decay", group["weight_decay"])
        flag("maximize", group["maximize"])
        require_word(("decoupled", "l2"), weight_decay_mode=group["weight_decay_mode"])
        if group["averaging"] is not None:
            require_between("averaging", group["averaging"], most=1.0)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters with hyperparameters of their own, checked first."""
        if not isinstance(param_group, dict) or "params" not in param_group:
            raise InadmissibleValue(
                f"param_group={said_of(param_group)} is no group. Pass a dict that holds parameters under 'params'."
            )
        refuse_unknown(name_of(self), HYPERPARAMETERS & (param_group.keys() - self.defaults.keys()), self.defaults)
        held: set[int] = set()
        for other in self.param_groups:
            own_settings(other, held)
        group = param_group | own_settings({**self.defaults, **param_group}, held)
        self.check(group)
        self.integrator.prepare(*self.motion(group))
        param_group.update(group)
        super().add_param_group(param_group)
        try:
            require_floats(self.param_groups[-1]["params"])
        except InadmissibleValue:
            self.param_groups.pop()
            raise
        self.noise.shared = False
        self._runner.forget()
        mark_groups(self)

    def init_state(self) -> None:
        """Allocate every parameter's state before the first step, to save or load it there.

        Where ranks train together, all of them call it.

        Raises:
            InadmissibleValue: start="rest" needs the first gradient.
        """
        if self.options.start == "rest":
            raise InadmissibleValue("start='rest' takes its velocity from the first gradient. Take a step instead.")
        self._share_key()
        for group in self.param_groups:
            for p in group["params"]:
                if p not in self.state:
                    self.state[p] = first_state(self, p, group)

    @property
    def key(self) -> int:
        """Key of the noise."""
        return self.noise.key

    @key.setter
    def key(self, key: int) -> None:
        self.noise.key = key

    @property
    def steps(self) -> int:
        """Steps taken; with the key it is where the noise stands."""
        return int(self.ticks)

    @steps.setter
    def steps(self, count: int) -> None:
        self.ticks.fill_(count)

    def step(self, closure: Callable[[], Any] | None = None, *, loss: Any = None) -> Any:
        """Step every parameter that has a gradient.

        Args:
            closure: recomputes the loss and its gradients. Called once with grad enabled before the first stage, and
                again only by integrators that take further gradients, with the same random numbers (dropout masks)
                each time.
            loss: the loss whose gradients p.grad holds, for systems that move by it; instead of a closure.

        Returns:
            The closure's loss, or the problem's; None without either.
        """
        if self._swapped:
            raise InadmissibleValue("step() inside averaged(): the parameters hold their average. Step outside of it.")
        if closure is not None and (isinstance(closure, type | nn.Module) or not callable(closure)):
            raise InadmissibleValue(
                f"step() got {said_of(closure)} where a closure belongs. Pass step(loss=loss), or a function "
                "that recomputes the loss and its gradients."
            )
        if self.problem is not None:
            if closure is not None:
                raise InadmissibleValue(
                    "step(closure): the force of this optimizer comes from its problem's potential. Call step(), or "
                    "build without problem=."
                )
            closure = force_of(self, self.problem)
        evaluate, returned = None, None
        if closure is not None:
            evaluate = replayable(closure, self._devices())
            returned = loss = evaluate()
        elif self.integrator.evaluation == "midpoint" or self.integrator.stages > 1:
            raise MissingClosure(
                f"integrator={name_of(self.integrator)} needs more than one gradient a step, but step() got no "
                "closure. Pass a closure, or use an integrator of one gradient, such as Leapfrog() or "
                "Splitting('BAOAB')."
            )
        with torch.set_grad_enabled(self.options.differentiable):
            self._share_key()
            if self.integrator.evaluation == "midpoint":
                self._solve(cast("Callable[[], Any]", evaluate))
            else:
                for stage in range(self.integrator.stages):
                    if stage:
                        cast("Callable[[], Any]", evaluate)()
                    self._runner.run(self, stage, loss)
            self.ticks.add_(1)
        return returned

    def position(self) -> dict[Tensor, Tensor]:
        """θ of every parameter: the parameter itself, except for look-ahead, whose gradient is taken ahead of θ."""
        found = {}
        for group in self.param_groups:
            scales = self.integrator.prepare(*self.motion(group))
            for p in group["params"]:
                theta = real_view(p.detach())
                if p in self.state:
                    state = {POSITION: theta, **self.state[p]}
                    part = self.integrator.position(scales, {name: local(value) for name, value in state.items()})
                    theta = spread(part, theta)
                found[p] = torch.view_as_complex(theta) if p.is_complex() else theta
        return found

    @contextmanager
    def averaged(self, model: nn.Module | None = None, data: Iterable[Any] | None = None) -> Iterator[None]:
        """Inside, parameters hold their running average; afterwards, whatever happened, what they held before.

        Parameters that have not moved yet stay as they are. State dicts are the same inside and outside.

        Args:
            model: whose parameters these are. Its buffers (BatchNorm's running statistics) are put back afterwards,
                whatever is done to them inside. Needed where parameters are spread over ranks, because FSDP2 keeps
                whole copies of them after a forward pass alone, which are dropped here.
            data: training batches, each the model's input or a tuple that begins with it: BatchNorm's statistics are
                taken anew from them, at the average. Without data a model that has BatchNorm is warned of.

        Raises:
            InadmissibleValue: the optimizer keeps no average, data without a model, or parameters are spread and no
                model is given.

        Example:
            >>> from thetadot.optim import GradientDescent
            >>> p = torch.zeros(1, requires_grad=True)
            >>> optimizer = GradientDescent([p], lr=1.0, averaging=1.0)
            >>> for slope in (-1.0, -1.0, -1.0):  # positions 1, 2, 3
            ...     p.grad = torch.tensor([slope]); optimizer.step()
            >>> with optimizer.averaged():
            ...     print(p.item())
            2.0
            >>> p.item()
            3.0
        """
        if self._swapped:
            raise InadmissibleValue("averaged() inside averaged(): the parameters hold their average already.")
        with averages(self, model, data):
            self._swapped = True
            try:
                yield
            finally:
                self._swapped = False

    def _solve(self, evaluate: Callable[[], Any]) -> None:
        """The implicit step; if it fails, no state is begun."""
        if any(is_sharded(p) for group in self.param_groups for p in group["params"]):
            raise IncompatiblePair(
                f"{name_of(self.integrator)} solves one equation for all parameters, and these are spread over ranks. "
                "Use an explicit integrator, or DistributedDataParallel, which keeps them whole."
            )
        fresh = [p for group in self.param_groups for p in group["params"] if p not in self.state]
        try:
            solve_midpoint(lambda: self._runner.rows(self, 0), evaluate)
        except BaseException:
            for p in fresh:
                self.state.pop(p, None)
            raise

    def _share_key(self) -> None:
        """Share rank 0's noise key with all ranks that train together."""
        noise = self.noise
        if not noise.shared:
            rounding = self.options.low_precision == "stochastic"
            narrow = any(p.dtype in NARROW for group in self.param_groups for p in group["params"])
            noise.draws = self._stochastic or (rounding and narrow)
            if noise.draws:
                noise.key = ranks.shared(noise.key)
            noise.shared = True

    def _devices(self) -> set[torch.device]:
        return {p.device for group in self.param_groups for p in group["params"]}

    # What is saved.

    def state_dict(self) -> dict[str, Any]:
        """Torch's state dict; each group also holds, under "thetadot", what the rule itself carries.

        That is the convention, the noise's key and the steps taken.
        """
        return pack_state_dict(self, super().state_dict())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue exactly where ``state_dict`` was taken; a velocity of another convention is converted.

        Where both sides know their parameters' names, state goes by name, whatever the order.

        Raises:
            DamagedFile: not the state dict of such an optimizer.
            InadmissibleValue: its hyperparameters are not admissible, or its velocity cannot be converted at lr = 0.
                Nothing is changed in either case.
        """
        restore_state_dict(self, state_dict, super().load_state_dict)

    def __getstate__(self) -> dict[str, Any]:
        own = ("system", "problem", "integrator", "options", "noise", "ticks", "_swapped", "_stochastic")
        return super().__getstate__() | {name: self.__dict__[name] for name in own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._runner = StepRunner()
