"""Optimizers under the names that users know: each a system and an integrator, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, cast

from thetadot.analysis.stability import stability_limit
from thetadot.core.failures import answering
from thetadot.core.reading import Reading
from thetadot.core.signatures import checked
from thetadot.core.validation import require_numbers
from thetadot.errors import InadmissibleValue, require
from thetadot.integrators import (
    CentredLeapfrog,
    CentredSplitting,
    Euler,
    EulerMaruyama,
    ImplicitMidpoint,
    Leapfrog,
    LookAhead,
    Splitting,
)
from thetadot.optim.flow import Flow
from thetadot.optim.groups import decayed, flag, of_settings, reads, require_between
from thetadot.optim.mechanical import MechanicalFlow, adopt, release
from thetadot.optim.problem_force import temperature_of
from thetadot.systems import GradientFlow
from thetadot.systems import Langevin as LangevinDynamics

if TYPE_CHECKING:
    import torch
    from torch.optim.optimizer import ParamsT

    from thetadot.core.annotations import Scalar
    from thetadot.integrators.base import MechanicalIntegrator
    from thetadot.integrators.leapfrog import Convention
    from thetadot.systems.base import System


def _decay(convention: Convention, common: dict[str, Any]) -> dict[str, Any]:
    """``convention="torch"`` stands for torch's weight decay too."""
    if convention == "torch":
        if common.get("weight_decay_mode", "l2") != "l2":
            raise InadmissibleValue(
                "convention='torch' has torch's weight decay, 'l2'. Leave weight_decay_mode out, or change convention."
            )
        return common | {"weight_decay_mode": "l2"}
    return common


class GradientDescent(Flow):
    r"""Gradient descent: :class:`GradientFlow` × :class:`Euler`.

        θ' = θ - α∇L(θ)

    Args:
        params: as for torch.optim.
        lr: α >= 0, the time step itself. On curvature h stable for αh < 2.
        common: ``weight_decay``, ``weight_decay_mode``, ``maximize``; see :class:`Flow`.

    Example:
        >>> import torch
        >>> p = torch.ones(1, requires_grad=True)
        >>> optimizer = GradientDescent([p], lr=0.25)
        >>> (p * p).sum().backward(); optimizer.step(); p.data
        tensor([0.5000])
    """

    def __init__(self, params: ParamsT, lr: Scalar, **common: Any) -> None:
        super().__init__(params, GradientFlow(), Euler(), lr, **common)

    @classmethod
    @checked
    def from_physical(cls, params: ParamsT, *, step: Scalar, **common: Any) -> Self:
        """Build from the time step, which is lr."""
        return cls(params, lr=step, **common)

    @reads
    def reading(self, group: dict[str, Any]) -> Reading:
        """Step and largest stable curvature 2/α."""
        lr = float(group["lr"])
        return decayed(Reading(lr, None, stability_limit() / lr if lr else float("inf"), rate=lr), group)


class HeavyBall(MechanicalFlow):
    r"""Heavy-ball momentum: :class:`DampedNewton` × :class:`Leapfrog`.

        v' = βv - α∇L(θ),    θ' = θ + v',    v = γη

    At constant settings equal to torch.optim.SGD with momentum. When lr changes, torch keeps v/lr, Keras v;
    mechanics keeps the velocity η, which is what is stored by default.

    Args:
        params: as for torch.optim.
        lr: α >= 0. On curvature h stable for αh < 2(1+β).
        momentum: 0 <= β < 1.
        convention: what is held fixed when settings change: "physical" η, "displacement" v, or "torch" v/lr (with
            torch's l2 decay).
        move_half_step: when lr or momentum changes, move the half step by which the velocity is late too, so that the
            motion stays of second order through a schedule (:class:`CentredLeapfrog`; convention "physical").
        common: ``weight_decay``, ``weight_decay_mode``, ``maximize``, ``start``; see :class:`Flow`.

    Example:
        >>> import torch
        >>> p = torch.ones(1, requires_grad=True)
        >>> optimizer = HeavyBall([p], lr=0.25, momentum=0.5)
        >>> for _ in range(2):
        ...     optimizer.zero_grad(); (p * p).sum().backward(); optimizer.step()
        >>> round(p.item(), 6)  # 1 -> 1/2 -> 1/2 - 1/4 - 1/4
        0.0
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Scalar,
        momentum: Scalar = 0.9,
        *,
        convention: Convention = "physical",
        move_half_step: bool = False,
        **common: Any,
    ) -> None:
        rule = self._integrator(convention, move_half_step=move_half_step)
        super().__init__(params, rule, lr, momentum, **_decay(convention, common))

    @classmethod
    def _integrator(
        cls, convention: Convention = "physical", *, move_half_step: bool = False, **_: Any
    ) -> MechanicalIntegrator:
        flag("move_half_step", move_half_step)
        return CentredLeapfrog(convention) if move_half_step else Leapfrog(convention)

    @classmethod
    @checked
    def from_torch(cls, sgd: torch.optim.SGD, **options: Any) -> Self:
        """Take over a torch.optim.SGD in mid-run: parameters, settings, velocity. Dampening becomes a smaller lr."""
        return adopt(cls, sgd, nesterov=False, **options)

    def to_torch(self) -> torch.optim.SGD:
        """The torch.optim.SGD that continues this run."""
        return release(self, nesterov=False)


class Nesterov(MechanicalFlow):
    r"""Look-ahead momentum: :class:`DampedNewton` × :class:`LookAhead`.

        v' = βv - α∇L(θ + cβv),    θ' = θ + v';    the parameter holds Θ = θ + cβv

    c = 1 is torch.optim.SGD(nesterov=True), c = 1/2 the article's eq. 20. ``position()`` gives θ.

    Args:
        params: as for torch.optim.
        lr: α >= 0. On curvature h stable for αh < 2(1+β)/(1+2cβ).
        momentum: 0 <= β < 1.
        lookahead: c in [0, 1].
        convention: as for :class:`HeavyBall`.
        common: see :class:`Flow`.

    Example:
        >>> import torch
        >>> p = torch.ones(1, requires_grad=True)
        >>> optimizer = Nesterov([p], lr=0.25, momentum=0.5)
        >>> (p * p).sum().backward(); optimizer.step(); p.data, optimizer.position()[p]  # v = -1/2, Θ = θ + v/2
        (tensor([0.2500]), tensor([0.5000]))
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Scalar,
        momentum: Scalar = 0.9,
        lookahead: float = 1.0,
        *,
        convention: Convention = "physical",
        **common: Any,
    ) -> None:
        require_numbers(lookahead=lookahead)
        require(
            0 <= lookahead <= 1,
            f"lookahead={lookahead:g}",
            "is outside [0, 1]",
            "Pass 0 (heavy ball), 0.5 (eq. 20) or 1 (Nesterov).",
        )
        super().__init__(params, self._integrator(lookahead, convention), lr, momentum, **_decay(convention, common))

    @classmethod
    def _integrator(cls, lookahead: float = 1.0, convention: Convention = "physical", **_: Any) -> MechanicalIntegrator:
        return LookAhead(convention, lookahead)

    @classmethod
    @checked
    def from_torch(cls, sgd: torch.optim.SGD, **options: Any) -> Self:
        """Take over a torch.optim.SGD(nesterov=True) in mid-run."""
        return adopt(cls, sgd, nesterov=True, **options)

    def to_torch(self) -> torch.optim.SGD:
        """The torch.optim.SGD(nesterov=True) that continues this run (c = 1 only)."""
        lookahead = cast("LookAhead", self.integrator).lookahead
        require(lookahead == 1.0, f"lookahead={lookahead:g}", "is not torch's method", "Only lookahead=1 is.")
        return release(self, nesterov=True)


class ImplicitHeavyBall(MechanicalFlow):
    r"""Implicit momentum: :class:`DampedNewton` × :class:`ImplicitMidpoint` (the article's eq. 19).

        v' = βv - α∇L((θ+θ')/2),    θ' = θ + v'

    Stable at every lr on a quadratic. Each step solves an equation, which has a solution wherever the loss is bounded
    below: m = (θ+θ')/2 minimises L(m) + |m - (θ+βv/2)|²/α. ``step(closure)`` calls the closure 6 to 100 times.

    Args:
        params: as for torch.optim; float64 is advised.
        lr: α >= 0.
        momentum: 0 <= β < 1.
        common: see :class:`Flow`.

    Raises:
        NotConverged: from ``step``, if the equation was not solved, as where the loss jumps or has no bottom; nothing
            has moved then.

    Example:
        >>> import torch
        >>> p = torch.ones(1, dtype=torch.float64, requires_grad=True)
        >>> optimizer = ImplicitHeavyBall([p], lr=2.0, momentum=0.0)
        >>> def closure():
        ...     optimizer.zero_grad(); loss = (p * p / 2).sum(); loss.backward(); return loss
        >>> _ = optimizer.step(closure); round(p.item(), 9) + 0  # θ' = θ(1 - αh/2)/(1 + αh/2)
        0.0
    """

    def __init__(self, params: ParamsT, lr: Scalar, momentum: Scalar = 0.9, **common: Any) -> None:
        super().__init__(params, self._integrator(), lr, momentum, **common)

    @classmethod
    def _integrator(cls, **_: Any) -> MechanicalIntegrator:
        return ImplicitMidpoint()


class Langevin(Flow):
    r"""Stochastic gradient Langevin dynamics: :class:`systems.Langevin` × :class:`EulerMaruyama`.

        θ' = θ - α∇L + √(2αT) ξ

    Samples exp(-L/T) as α -> 0; on curvature h the variance is T/(h(1-αh/2)). T is in units of the loss as it is
    given: to sample a posterior of N points from a mean loss, pass T = 1/N.

    Args:
        params: as for torch.optim.
        lr: α >= 0, the time step itself.
        temperature: T >= 0; that of ``problem=`` if None.
        generator: source of the noise's key.
        common: see :class:`Flow`.

    Example:
        >>> import torch
        >>> p = torch.zeros(3, requires_grad=True)
        >>> optimizer = Langevin([p], lr=0.1, temperature=0.0)  # at T = 0 it is gradient descent
        >>> p.sum().backward(); optimizer.step(); p.data
        tensor([-0.1000, -0.1000, -0.1000])
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Scalar,
        temperature: Scalar | None = None,
        *,
        generator: torch.Generator | None = None,
        **common: Any,
    ) -> None:
        super().__init__(
            params,
            None,
            EulerMaruyama(),
            lr,
            hyperparameters={"temperature": temperature_of(temperature, common.get("problem"))},
            generator=generator,
            **common,
        )

    @classmethod
    @checked
    def from_physical(cls, params: ParamsT, *, step: Scalar, temperature: Scalar | None = None, **common: Any) -> Self:
        """Build from the time step, which is lr."""
        return cls(params, lr=step, temperature=temperature, **common)

    @answering
    def check(self, group: dict[str, Any]) -> None:
        """Check the group's hyperparameters, with T >= 0 among them."""
        super().check(group)
        require_between("temperature", group["temperature"])

    @answering
    @of_settings
    def motion(self, group: dict[str, Any]) -> tuple[System, Scalar]:
        """Langevin dynamics at the group's temperature."""
        return LangevinDynamics(group["temperature"]), group["lr"]

    @reads
    def reading(self, group: dict[str, Any]) -> Reading:
        """Read the group as that of gradient descent."""
        lr = float(group["lr"])
        return decayed(Reading(lr, None, stability_limit() / lr if lr else float("inf"), rate=lr), group)


class Kramers(MechanicalFlow):
    r"""Momentum at a temperature: :class:`systems.Kramers` × the word BAOA.

        η ← η - γ∇L,   θ ← θ + γη/2,   η ← βη + √(T(1-β²)) ξ,   θ ← θ + γη/2;    γ = √(2α/(1+β))

    Samples exp(-L/T), exactly on quadratics at every stable lr. At T = 0 its positions are :class:`HeavyBall`'s.

    Args:
        params: as for torch.optim.
        lr: α >= 0.
        momentum: 0 <= β < 1; the friction is -ln β/γ.
        temperature: T >= 0, in units of the loss; that of ``problem=`` if None.
        move_half_step: as for :class:`HeavyBall` (:class:`CentredSplitting`).
        generator: source of the noise's key.
        common: see :class:`Flow`.

    Example:
        >>> import torch
        >>> p = torch.ones(1, requires_grad=True)
        >>> optimizer = Kramers([p], lr=0.25, momentum=0.5, temperature=0.0)
        >>> (p * p).sum().backward(); optimizer.step(); p.data
        tensor([0.5000])
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Scalar,
        momentum: Scalar = 0.9,
        *,
        temperature: Scalar | None = None,
        move_half_step: bool = False,
        generator: torch.Generator | None = None,
        **common: Any,
    ) -> None:
        super().__init__(
            params,
            self._integrator(move_half_step=move_half_step),
            lr,
            momentum,
            hyperparameters={"temperature": temperature_of(temperature, common.get("problem"))},
            generator=generator,
            **common,
        )

    @classmethod
    def _integrator(cls, *, move_half_step: bool = False, **_: Any) -> MechanicalIntegrator:
        flag("move_half_step", move_half_step)
        return CentredSplitting() if move_half_step else Splitting("BAOA")
