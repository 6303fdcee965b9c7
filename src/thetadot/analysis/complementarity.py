r"""Small semidefinite complementarity problems.

    X ⪰ 0,    S = A + R[X] ⪯ 0,    ⟨X, S⟩ = 0        k by k, symmetric

R is linear and, where -R is monotone, the solution is unique in R[X]. Solved by extragradient steps, X ← Π(X + τS),
with Π the projection on positive semidefinite matrices; at a fixed point the three conditions hold. What has not come
to rest after :data:`MOST` steps is returned as it then is.
"""

from __future__ import annotations

import numpy as np

from thetadot.core.signatures import checked
from thetadot.errors import InadmissibleValue

MOST = 20_000
CLOSE = 1e-10


@checked
def complementary(a: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Solve X ⪰ 0, A + R[X] ⪯ 0, ⟨X, A + R[X]⟩ = 0 for X.

    Args:
        a: A, (k, k) symmetric.
        response: R, (k, k, k, k): R[X]ᵢⱼ = Σ response[i, j, k, l] Xₖₗ.

    Raises:
        InadmissibleValue: R has no hold on A: of one direction it is not negative, of several it is zero.

    Example:
        >>> one = np.array([[2.0]]), np.array([[[[-0.5]]]])
        >>> complementary(*one).tolist(), complementary(-one[0], one[1]).tolist()   # x = 4 holds 2 - x/2 at 0
        ([[4.0]], [[0.0]])
    """
    count = len(a)
    if count == 1:
        slope = float(response[0, 0, 0, 0])
        if float(a[0, 0]) <= 0:
            return np.zeros((1, 1))
        if not slope < 0:
            raise InadmissibleValue("the oscillation does not flatten its direction. Start from another point.")
        return np.array([[-float(a[0, 0]) / slope]])
    matrix = response.reshape(count * count, count * count)
    size = float(np.linalg.norm(matrix, 2))
    if not size > 0:
        if np.linalg.eigvalsh(a).max() > 0:
            raise InadmissibleValue("the oscillation does not flatten its directions. Start from another point.")
        return np.zeros_like(a)
    step = 0.7 / size

    def pull(x: np.ndarray) -> np.ndarray:
        found = a + (matrix @ x.reshape(-1)).reshape(count, count)
        return np.asarray(0.5 * (found + found.T))

    x = np.zeros_like(a)
    scale = float(np.abs(a).max()) / size
    for _ in range(MOST):
        ahead = _positive(x + step * pull(x))
        new = _positive(x + step * pull(ahead))
        moved, x = float(np.abs(new - x).max()), new
        if moved <= CLOSE * max(scale, float(np.abs(x).max())):
            return x
    return x


def _positive(x: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(x)
    return np.asarray((vectors * np.maximum(values, 0.0)) @ vectors.T)
