r"""Annealing at fixed friction: when the step γ falls, lr and momentum move together.

    γ(t) = γ₀ s(t),    λ fixed:    β = (1-λγ/2)/(1+λγ/2),    α = γ²(1+β)/2

As lr falls to r·lr the momentum rises to ``translation.momentum_at(r, momentum)``. Lowering lr alone at fixed β raises
the friction in the motion's own clock; lowering lr by 100 at fixed friction cools by 10 only, so the schedule is of γ,
and temperature T ∝ γ/B is taken to at most 1% of its start together with the batch.

Source:
    Su Jianlin, https://kexue.fm/archives/5655 (2018): small batch and large step first, then batch up and step down;
    exact rule in place of its 1-(1-β)√r.
"""

from __future__ import annotations

from thetadot.core.cayley import cayley, lr_of
from thetadot.core.signatures import checked
from thetadot.errors import require
from thetadot.translation import Settings, to_physical


@checked
def at_fixed_friction(lr: float, momentum: float, fraction: float) -> Settings:
    """Settings when the time step is ``fraction`` of that of (lr, momentum), friction unchanged; exact.

    Args:
        lr: α > 0 at the start.
        momentum: 0 <= β < 1 at the start.
        fraction: γ/γ₀ in (0, 1].

    Raises:
        InadmissibleValue: outside these ranges.

    Example:
        >>> settings = at_fixed_friction(0.1, 0.9, 1.0)
        >>> round(settings.lr, 12), round(settings.momentum, 12)
        (0.1, 0.9)
        >>> settings = at_fixed_friction(0.1, 0.9, 0.1)
        >>> round(settings.lr / (1 - settings.momentum), 6)  # the overdamped rate γ/λ falls with the step
        0.1
    """
    require(0 < fraction <= 1, f"fraction={fraction:g}", "is outside (0, 1]", "Pass the step as a share of the first.")
    require(0 <= momentum < 1, f"momentum={momentum:g}", "is outside [0, 1)", "Pass a momentum with friction.")
    return with_friction(lr, momentum, fraction)


def with_friction(lr: float, momentum: float, fraction: float) -> Settings:
    """Settings at γ = ``fraction`` γ₀ for any fraction > 0: longer steps too, whose momentum may be below 0.

    Example:
        >>> with_friction(0.5, 0.0, 2.0).momentum < 0
        True
    """
    start = to_physical(lr, momentum)
    step = float(start.step) * fraction
    beta = float(cayley(float(start.friction) * step))
    return Settings(float(lr_of(step, beta)), beta)
