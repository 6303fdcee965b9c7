r"""The Cayley map between damping and momentum, and what of the dictionary needs no root.

    β = (1 - λγ/2)/(1 + λγ/2),    λγ = 2(1-β)/(1+β),    α = γ²(1+β)/2

Elementary operations alone, on floats and tensors alike, so that what reads records needs no torch for them.
:mod:`thetadot.translation` is the whole dictionary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thetadot.typing import Scalar


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
    """α = γ²(1+β)/2, unchecked.

    Example:
        >>> lr_of(2.0, 0.5)
        3.0
    """
    return step * step * (1.0 + momentum) / 2.0
