"""Curve of the training loss: means over equal stretches of the gradient evaluations."""

from __future__ import annotations

STRETCHES = 100


class Bins:
    """Means of the loss over at most 100 equal stretches.

    Args:
        budget: gradient evaluations of the whole run.

    Example:
        >>> bins = Bins(200)
        >>> for at, loss in ((1, 4.0), (2, 2.0), (3, 1.0)):
        ...     bins.add(at, loss, 1)
        >>> bins.points()
        [(2.0, 3.0), (3.0, 1.0)]
    """

    def __init__(self, budget: float) -> None:
        self.width = max(budget / STRETCHES, 1.0)
        self.sums: dict[int, list[float]] = {}

    def add(self, at: float, loss: float, weight: float) -> None:
        """Add the loss of a step after which ``at`` evaluations were spent."""
        here = self.sums.setdefault(
            max(0, min(STRETCHES - 1, int((at - 1e-9 * self.width) / self.width))), [0.0, 0.0, 0.0]
        )
        here[0], here[1], here[2] = at, here[1] + loss * weight, here[2] + weight

    def points(self) -> list[tuple[float, float]]:
        """Return (where the stretch's last step was, mean loss) of every stretch with a step in it."""
        return [(float(at), total / weight) for at, total, weight in self.sums.values() if weight > 0]
