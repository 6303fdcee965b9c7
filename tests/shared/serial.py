"""Serial records whose correlation is known."""

import numpy as np


def autoregressive(n, rho, records, seed=0):
    """Stationary x_t = ρx_{t-1} + e_t of mean 0 and variance 1, (records, n)."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((n, records))
    x = np.empty((n, records))
    x[0] = noise[0]
    for t in range(1, n):
        x[t] = rho * x[t - 1] + (1.0 - rho * rho) ** 0.5 * noise[t]
    return x.T
