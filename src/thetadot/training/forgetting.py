"""Size of a weight decay: lr·λ·S = 1.2 over the S steps of a run (see :mod:`thetadot.training.decaying`)."""

from __future__ import annotations

FORGOTTEN = 1.2


def decay_of(lr: float, steps: float) -> float:
    """Weight decay by which a run of so many steps forgets its beginning.

    Example:
        >>> decay_of(0.01, 240.0)
        0.5
    """
    return FORGOTTEN / (lr * max(1.0, steps))
