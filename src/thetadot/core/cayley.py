r"""The Cayley map between damping and momentum, and the formulas of the dictionary, unchecked.

    β = (1 - λγ/2)/(1 + λγ/2),    λγ = 2(1-β)/(1+β),    α = γ²(1+β)/2

On floats and tensors alike, and without torch, which what reads records and converts settings does not load: a root of
tensors is handed in.
:mod:`thetadot.translation` is the whole dictionary.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from thetadot.core.annotations import Scalar


def cayley(x: Scalar) -> Scalar:
    """(1 - x/2)/(1 + x/2): the momentum β of a damping λγ = x.

    Example:
        >>> cayley(0.0), cayley(2.0)
        (1.0, 0.0)
    """
    return (1.0 - x / 2.0) / (1.0 + x / 2.0)


def damping(momentum: Scalar) -> Scalar:
    """λγ = 2(1-β)/(1+β), the damping of one step; the inverse of :func:`cayley`.

    Example:
        >>> damping(cayley(0.25))
        0.25
    """
    return 2.0 * (1.0 - momentum) / (1.0 + momentum)


def lr_of(step: Scalar, momentum: Scalar) -> Scalar:
    """Return the learning rate α = γ²(1+β)/2, unchecked.

    Example:
        >>> lr_of(2.0, 0.5)
        3.0
    """
    return step * step * (1.0 + momentum) / 2.0


def step_of(lr: Scalar, momentum: Scalar, root: Callable[[Any], Any] = math.sqrt) -> Scalar:
    """Return the time step γ = √(2α/(1+β)).

    Example:
        >>> step_of(0.5, 0.0)
        1.0
    """
    step: Scalar = root(2.0 * lr / (1.0 + momentum))
    return step


def friction_of(lr: Scalar, momentum: Scalar, root: Callable[[Any], Any] = math.sqrt) -> Scalar:
    """Return the friction λ = (1-β)√(2/(α(1+β))).

    Example:
        >>> friction_of(0.5, 0.0)
        2.0
    """
    friction: Scalar = (1.0 - momentum) * root(2.0 / (lr * (1.0 + momentum)))
    return friction


def kept_friction(ratio: Scalar, momentum: Scalar, root: Callable[[Any], Any] = math.sqrt) -> Scalar:
    """The momentum that keeps the friction at ``ratio`` times the lr: 1 - 4√κ/(√κ + √(κ+8)), κ = r(1-β)²/(1+β).

    Example:
        >>> round(kept_friction(0.1, 0.9), 7)
        0.9678178
    """
    kappa = ratio * (1.0 - momentum) ** 2 / (1.0 + momentum)
    base = root(kappa)
    kept: Scalar = 1.0 - 4.0 * base / (base + root(kappa + 8.0))  # 1 + (κ - √(κ²+8κ))/2 without its cancellation
    return kept
