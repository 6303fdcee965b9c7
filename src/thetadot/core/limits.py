r"""Linear stability limits on a curvature h, in closed form.

    heavy ball (c = 0), eq. 20 (c = 1/2), Nesterov (c = 1):    αh < 2(1+β)/(1+2cβ)
    Adam with its preconditioner P frozen:                     αh < 2(1+β₁)/(1-β₁),  h of P⁻¹H

The first is the Jury criterion of z² - [1-x+β(1-cx)]z + β(1-cx), x = αh: 3.8, 2 and 1.357 at β = .9. For c = 1/2
the limit is 2 whatever β. The second is heavy ball's in another unit: Adam's mean is a velocity whose kick is 1-β₁.

Weight decay w: coupled (l2) it adds w to every curvature, w/P behind a preconditioner. Decoupled it shrinks θ by
1 - αw before the step, and the criterion becomes that of z² - [1-αw-x+β(1-cx)]z + β(1-αw-cx): every limit above is
multiplied by 1 - αw/2, whatever the momentum. At α = 1, w = .5 descent has 1.5, at β = .9 heavy ball 2.85, Nesterov
1.018; at αw = 2 nothing is left.
"""

from __future__ import annotations

import math

from thetadot.core.signatures import checked
from thetadot.errors import require


@checked
def shrunk(limit: float, decay: float) -> float:
    """A limit beside decoupled decay: ``limit`` (1 - αw/2).

    Args:
        limit: without decay.
        decay: αw >= 0, the share of a parameter that one step takes away.

    Returns:
        The limit; 0 or below where decay alone is unstable.

    Example:
        >>> shrunk(2.0, 0.5), round(shrunk(380.0, 0.1), 9)
        (1.5, 361.0)
    """
    require(decay >= 0, f"decay={decay:g}", "is below 0", "Pass lr·weight_decay >= 0.")
    return limit if math.isinf(limit) else limit * (1.0 - decay / 2.0)


@checked
def stability_limit(momentum: float = 0.0, lookahead: float = 0.0, decay: float = 0.0) -> float:
    """Largest stable lr·h of momentum descent.

    Args:
        momentum: 0 <= β < 1.
        lookahead: 0 <= c <= 1.
        decay: αw >= 0 of decoupled weight decay.

    Raises:
        InadmissibleValue: outside these ranges.

    Example:
        >>> stability_limit(0.9), stability_limit(0.9, lookahead=0.5), round(stability_limit(0.9, lookahead=1.0), 6)
        (3.8, 2.0, 1.357143)
    """
    require(0 <= momentum < 1, f"momentum={momentum:g}", "is outside [0, 1)", "Pass 0 <= momentum < 1.")
    require(0 <= lookahead <= 1, f"lookahead={lookahead:g}", "is outside [0, 1]", "Pass 0 <= lookahead <= 1.")
    return shrunk(2.0 * (1.0 + momentum) / (1.0 + 2.0 * lookahead * momentum), decay)


@checked
def adaptive_stability_limit(beta1: float, decay: float = 0.0) -> float:
    """Largest stable lr·h of Adam with frozen preconditioner, h an eigenvalue of P⁻¹H.

    Args:
        beta1: 0 <= β₁ < 1.
        decay: αw >= 0 of decoupled weight decay.

    Example:
        >>> round(adaptive_stability_limit(0.9), 9)
        38.0
        >>> round(adaptive_stability_limit(0.9, decay=0.1), 9)
        36.1
    """
    require(0 <= beta1 < 1, f"beta1={beta1:g}", "is outside [0, 1)", "Pass 0 <= beta1 < 1.")
    return shrunk(2.0 * (1.0 + beta1) / (1.0 - beta1), decay)


@checked
def limit_at(
    limit: float,
    lr: float,
    momentum: float,
    new_lr: float,
    new_momentum: float,
    *,
    decay: float = 0.0,
    decoupled: bool = True,
) -> float | None:
    """Return the curvature limit at other settings, from the limit reported at the present settings.

    Which of the forms above the optimizer has is told by ``limit``·``lr``, to 1%; where the momentum stays, the form
    does not matter.

    Args:
        limit: largest stable curvature at ``lr`` and ``momentum``.
        lr: α > 0.
        momentum: 0 <= β < 1.
        new_lr: α' > 0.
        new_momentum: 0 <= β' < 1.
        decay: w >= 0, weight decay.
        decoupled: whether it acts beside the gradient; coupled decay is taken to be of a step without preconditioner.

    Returns:
        The new limit; None where the momentum changes and no form fits, or those that fit differ.

    Example:
        >>> limit_at(38.0, lr=0.1, momentum=0.9, new_lr=0.2, new_momentum=0.9)
        19.0
        >>> round(limit_at(38.0, lr=0.1, momentum=0.9, new_lr=0.1, new_momentum=0.5), 9)  # a heavy ball
        30.0
    """
    left = 1.0 - lr * decay / 2.0 if decoupled else 1.0
    if left <= 0:
        return None
    bare = limit * lr / left if decoupled else (limit + decay) * lr
    if new_momentum == momentum:
        moved: float | None = bare
    else:
        found = [(stability_limit(momentum, c), stability_limit(new_momentum, c)) for c in (0.0, 0.5, 1.0)] + [
            (adaptive_stability_limit(momentum), adaptive_stability_limit(new_momentum))
        ]
        fits = {new for old, new in found if abs(old - bare) <= 0.01 * old}
        moved = fits.pop() if len(fits) == 1 else None
    if moved is None:
        return None
    return shrunk(moved, new_lr * decay) / new_lr if decoupled else moved / new_lr - decay
