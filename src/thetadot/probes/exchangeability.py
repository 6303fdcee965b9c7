r"""Whether the passes of a step are draws of one law: micro-batches of one loss, or different losses.

    r_ti = (g_ti - ḡ_t)/√(mean of |g_ti|² over i),    S = Σᵢ |Σₜ r_ti|²

If pass i of step t is a draw like any other of that step, its label i says nothing: S has the law that it has when the
labels of every step are shuffled. That law is sampled, so that the level holds whatever the gradients' own law is and
however the parameters move from step to step. The same is asked of log|g_ti|², since draws may be told apart by their
size alone. The share of the scatter that the labels explain is

    s = (S - Σₜᵢ|r_ti|²)/((n-1) Σₜᵢ|r_ti|²)

1 where passes differ by nothing else, 0 in the mean where they are equal draws. tr Σ from such passes is too large by
about 1/(1-s).

Source:
    Good, "Permutation, parametric and bootstrap tests of hypotheses", Springer 2005.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from thetadot.errors import require

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_SHUFFLES = 999
FEWEST = 20
"""Steps from which a small share is told; before, only one of a half."""
SMALL = 0.25
"""A share that is indistinguishable from chance and, if it were real, would make trΣ too large by a third at most."""


@dataclass(frozen=True)
class Exchangeability:
    """Result of the permutation test on the labels of passes.

    Attributes:
        alike: True where nothing speaks against equal draws, False where labels tell passes apart, None where more
            steps have to tell.
        share: of the scatter within steps that the passes' means explain, s.
        chance: p, how often shuffled labels explain as much, by direction or by size.
    """

    alike: bool | None
    share: float
    chance: float


def exchangeability(rows: ArrayLike, key: int = 5655) -> Exchangeability:
    """Test whether passes of one step are equal draws.

    Args:
        rows: (n, k, s): s elements of the gradient of each of k >= 2 passes at n >= 5 steps.
        key: of the shuffles.

    Raises:
        InadmissibleValue: of another shape.

    Example:
        >>> noise = np.random.default_rng(1).normal(size=(40, 2, 8))
        >>> exchangeability(noise).alike, exchangeability(noise + np.array([[[1.0], [-1.0]]])).alike
        (True, False)
    """
    x = np.asarray(rows, dtype=np.float64)
    fits = x.ndim == 3 and x.shape[0] >= 5 and x.shape[1] >= 2
    require(fits, f"rows of shape {x.shape}", "are not (n, k, s)", "Pass 5 or more steps of 2 or more passes.")
    n, k, _ = x.shape
    squares = np.square(x).sum(axis=2)
    size = squares.mean(axis=1)
    kept = np.isfinite(size) & (size > 0)
    if kept.sum() < 5:
        return Exchangeability(None, 0.0, 1.0)
    x, squares, size, n = x[kept], squares[kept], size[kept], int(kept.sum())
    away = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(size)[:, None, None]
    logs = np.log(squares + 1e-12 * size[:, None])
    lengths = (logs - logs.mean(axis=1, keepdims=True))[:, :, None]
    orders = np.random.default_rng(key).random((_SHUFFLES, n, k)).argsort(axis=2)
    found = [_test(part, orders) for part in (away, lengths)]
    chance = min(1.0, 2.0 * min(p for _, p in found))
    share = max(found, key=lambda pair: -pair[1])[0] if found[0][1] > 0.01 else found[0][0]
    different = chance <= 0.004 if n >= FEWEST else chance <= 0.02 and share > 0.5
    harmless = chance > 0.05 or share < SMALL or n >= 4 * FEWEST
    alike = False if different else (True if harmless else None)
    return Exchangeability(alike, share, chance)


def _test(away: NDArray[np.float64], orders: NDArray[np.int64]) -> tuple[float, float]:
    """s, and how often shuffled labels make as much."""
    n, k, _ = away.shape
    flat = away.reshape(n * k, -1)
    gram = flat @ flat.T
    total = float(np.trace(gram))
    if not total > 0:
        return 0.0, 1.0
    base = np.arange(n)[:, None] * k

    def explained(order: NDArray[np.int64]) -> float:
        places = (base + order).T  # (k, n)
        return float(sum(gram[np.ix_(own, own)].sum() for own in places))

    here = explained(np.broadcast_to(np.arange(k), (n, k)))
    above = sum(explained(order) >= here * (1.0 - 1e-12) for order in orders)
    return (here - total) / ((n - 1) * total), (above + 1.0) / (len(orders) + 1.0)
