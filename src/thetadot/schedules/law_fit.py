"""Least squares for the law of loss curves: linear in three factors, searched in the shape of two kernels."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.optimize import least_squares, nnls

from thetadot.errors import require
from thetadot.schedules.paths import Array, Path, Recorded, Shape

if TYPE_CHECKING:
    from collections.abc import Callable

BINS = 70
MISFIT = 0.005  # of the loss: no law of seven numbers is better
_EXPONENTS = (0.2, 0.35, 0.5, 0.65, 0.85, 1.1, 1.5, 2.0, 2.7)
_FORGETS = (0.6, 1.2, 2.4)


def binned(record: Recorded) -> tuple[Path, Array, Array, Array]:
    """Path, steps, mean losses and their errors, in bins of growing length."""
    losses = np.asarray(record.losses)
    edges = np.unique(np.geomspace(1, len(losses) + 1, BINS).astype(int)) - 1
    steps, means, variances, counts = [], [], [], []
    for one, other in itertools.pairwise(edges):
        part = losses[one:other][np.isfinite(losses[one:other])]
        if len(part):
            steps.append((one + other - 1) / 2.0)
            means.append(part.mean())
            counts.append(len(part))
            variances.append(np.square(np.diff(part)).mean() / 2.0 if len(part) > 2 else np.nan)
    variance = np.array(variances)
    mean, count = np.array(means), np.array(counts)
    known = np.isfinite(variance)
    relative = np.sqrt(np.median(variance[known] / np.square(mean[known]))) if known.any() else MISFIT
    variance = np.where(known, variance, np.square(relative * mean))
    return record.path, np.array(steps), mean, np.sqrt(variance / count + np.square(MISFIT * mean))


class Solved(NamedTuple):
    """Factors L∞, A and C of one shape, with what is left and how sure they are."""

    cost: float
    factors: Array
    covariance: Array


class LawFit:
    """Least squares in the three factors at a given shape, nonnegative."""

    def __init__(self, bins: list[tuple[Path, Array, Array, Array]], *, moving: bool) -> None:
        self.bins, self.moving = bins, moving
        self.mean = np.concatenate([mean for _, _, mean, _ in bins])
        self.error = np.concatenate([error for _, _, _, error in bins])
        self.size = len(self.mean)
        self.longest = max(float(path.time[-1]) for path, *_ in bins)
        require(self.longest > 0, "lr=0 throughout", "moves nothing", "Pass the rates of the steps.")
        self.first = min(float(path.time[1]) for path, *_ in bins) or self.longest * 1e-4
        self._known: dict[tuple[str, float, float], Array] = {}

    def grid(self) -> list[Shape]:
        """Return the shapes that are tried."""
        scales = np.geomspace(max(self.first, self.longest * 1e-4), self.longest * 3.0, 12)
        memories = np.geomspace(max(self.first, self.longest * 1e-4), self.longest, 6) if self.moving else [1.0]
        forgets = _FORGETS if self.moving else (1.0,)
        return [Shape(*map(float, s)) for s in itertools.product(scales, _EXPONENTS, memories, forgets)]

    def _column(self, kind: str, scale: float, exponent: float, *, keep: bool) -> Array:
        key = (kind, scale, exponent)
        if key in self._known:
            return self._known[key]
        parts = []
        for path, steps, _, _ in self.bins:
            low, share = np.floor(steps).astype(int), steps % 1.0
            values = [getattr(path, kind)(low + k, scale, exponent) for k in (0, 1)]
            parts.append(values[0] * (1.0 - share) + values[1] * share)
        column: Array = np.concatenate(parts) / self.error
        if keep:
            self._known[key] = column
        return column

    def solve(self, shape: Shape, *, keep: bool = True) -> Solved:
        """Return the best factors of a shape, and what is left."""
        columns = [1.0 / self.error, self._column("signal", shape.scale, shape.exponent, keep=keep)]
        if self.moving:
            columns.append(self._column("noise", shape.memory, shape.forgets, keep=keep))
        matrix = np.stack(columns, axis=1)
        size = np.linalg.norm(matrix, axis=0) + 1e-300
        factors, left = nnls(matrix / size, self.mean / self.error)
        inverse = np.linalg.pinv((matrix / size).T @ (matrix / size), rcond=1e-10)
        free = factors > 0
        covariance = np.zeros((3, 3))
        inner = inverse * np.outer(free, free) / np.outer(size, size)
        covariance[: len(size), : len(size)] = inner
        return Solved(left * left, np.append(factors / size, [0.0] * (3 - len(size))), covariance)

    def refined(self, start: Shape) -> tuple[Shape, Callable[[float], list[Shape]]]:
        """Return the shape of least cost, from one of the grid, and those a standard error away on either side."""
        count = 4 if self.moving else 2
        first = np.log(np.array(start[:count]))

        def shape(logs: Array) -> Shape:
            return Shape(*map(float, np.exp(first + logs - 1.0)), *start[count:])

        def residuals(logs: Array) -> Array:
            found = shape(logs)
            solved = self.solve(found, keep=False)
            columns = [1.0 / self.error, self._column("signal", found.scale, found.exponent, keep=False)]
            if self.moving:
                columns.append(self._column("noise", found.memory, found.forgets, keep=False))
            made: Array = np.stack(columns, axis=1) @ solved.factors[: len(columns)] - self.mean / self.error
            return made

        reach = np.log([30.0, 3.0, 30.0, 4.0])[:count]
        begin = np.ones(count)  # not at 0, where a relative step is none
        found = least_squares(residuals, begin, bounds=(begin - reach, begin + reach), max_nfev=100, diff_step=1e-4)

        def around(inflation: float) -> list[Shape]:
            values, vectors = np.linalg.eigh(found.jac.T @ found.jac / inflation + np.eye(count))  # a factor e at most
            lengths = np.sqrt(count / values)
            return [shape(found.x + sign * vectors[:, k] * lengths[k]) for k in range(count) for sign in (-1.0, 1.0)]

        return shape(found.x), around
