r"""Loss curves predicted: the end of any schedule, from losses recorded under others.

    L(k) = L∞ + A (1 + T/T₀)⁻ˢ + C Σ_{j<k} (r_j²/B_j) (1 + (T - T_{j+1})/τ)⁻ᑫ,    T = Σ_{j<k} r_j,  r = lr/(1-β)

The first two terms are what gradient flow leaves after time T; the third is noise that each step brings, as the square
of its length over its batch, and that is forgotten along the same clock. On a quadratic whose spectrum is a power both
kernels are exact for small steps: Σ λˢ⁻¹ e^(-2λ(T₀+T)) and Σ λᑫ⁻¹ e^(-2λ(τ+T)). Elsewhere it is an empirical law.

If lr never moved, noise is a constant that cannot be told from L∞, and nothing is said of other rates.

Source:
    Functional scaling law, 2509.19189; multi-power law, 2503.12811. The kernel of the noise is a power here too, and
    batches and momentum enter by the clock.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence  # noqa: TC003 - asked at run time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from thetadot.core.signatures import checked
from thetadot.errors import InadmissibleValue, require
from thetadot.schedules.curves import Constant, Cosine, Curve, Join, Linear, Polynomial
from thetadot.schedules.law_fit import LawFit, binned
from thetadot.schedules.paths import Array, Path, Recorded, Shape, of_steps

FEWEST = 40  # steps of all records together
MOVED = 1.3  # largest over smallest rate from which noise can be told from what stays


class Expected(NamedTuple):
    """A predicted loss, and the ends of its 95% interval."""

    loss: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Prediction:
    """A law fitted to recorded losses; made by :func:`predict`.

    Attributes:
        floor: L∞.
        amplitude: A.
        noise: C.
        shape: T₀, s, τ, q.
        unknown: the term that the records do not tell, or None.
        misfit: root mean square residual over its error; 1 is what the losses' own noise explains.
        rates: least and largest lr/(1-β) of the records.
    """

    floor: float
    amplitude: float
    noise: float
    shape: Shape
    unknown: str | None
    misfit: float
    rates: tuple[float, float]
    _others: tuple[tuple[float, Shape, Array, Array], ...]

    @checked
    def at(
        self,
        step: int,
        lr: Sequence[float] | float,
        momentum: Sequence[float] | float = 0.0,
        batch_size: Sequence[float] | float = 1.0,
    ) -> Expected:
        """Predict the loss before a step of a schedule, from its start.

        Args:
            step: counted from 0; the number of steps is the end.
            lr: of each step, or of all.
            momentum: likewise.
            batch_size: likewise.

        Raises:
            InadmissibleValue: the noise is unknown, and the schedule has other rates than the records.
        """
        require(step >= 1, f"step={step}", "is below 1", "Pass how many steps are made before.")
        settings = {"lr": lr, "momentum": momentum, "batch_size": batch_size}
        given = [np.size(value) for value in settings.values() if np.ndim(value)]
        steps = given[0] if given else step
        path = Path.of(*(of_steps(name, value, steps) for name, value in settings.items()))
        require(step < len(path.time), f"step={step}", "is after the schedule's end", "Pass settings up to there.")
        rates = np.diff(path.time[: step + 1])
        if self.unknown is not None and (rates.max() > self.rates[1] * MOVED or rates.min() * MOVED < self.rates[0]):
            raise InadmissibleValue(
                f"the {self.unknown} is unknown: lr never moved in what was recorded, and the schedule's does. "
                "Pass a second record at another rate, or one whose rate moved by a third at least."
            )
        return self.ends(path, step, band=True)

    def ends(self, path: Path, step: int = -1, *, band: bool = False) -> Expected:
        """Predict the loss at the end of a path, or before one of its steps.

        Args:
            path: of a schedule.
            step: the end if it is -1.
            band: whether the interval is asked for; else it is the number itself.
        """
        step = len(path.heat) if step < 0 else step
        best = float(np.array([self.floor, self.amplitude, self.noise]) @ self._terms(path, step, self.shape))
        if not band:
            return Expected(best, best, best)
        weights = np.array([weight for weight, *_ in self._others])
        terms = [self._terms(path, step, shape) for _, shape, _, _ in self._others]
        means = np.array([float(g @ term) for (_, _, g, _), term in zip(self._others, terms, strict=True)])
        within = np.array([float(term @ c @ term) for (_, _, _, c), term in zip(self._others, terms, strict=True)])
        spread = math.sqrt(float(weights @ (means - best) ** 2 + weights @ within))
        return Expected(best, best - 1.96 * spread, best + 1.96 * spread)

    def _terms(self, path: Path, step: int, shape: Shape) -> Array:
        signal = path.signal([step], shape.scale, shape.exponent)[0]
        noise = 0.0 if self.unknown else path.noise([step], shape.memory, shape.forgets)[0]
        terms: Array = np.array([1.0, signal, noise])
        return terms


@checked
def predict(records: Sequence[Recorded] | Recorded) -> Prediction:
    """Fit the law to recorded losses.

    Args:
        records: one whose lr moved, or several from the same start; their first steps suffice.

    Returns:
        The law, which predicts the loss of any schedule from that start, with an interval over all shapes that fit.

    Raises:
        InadmissibleValue: fewer than 40 losses.

    Example:
        >>> steps = np.arange(400)
        >>> lr = np.where(steps < 200, 0.1, 0.05)
        >>> time = np.concatenate([[0.0], np.cumsum(lr)])[:-1]
        >>> law = predict(Recorded(1.0 + 2.0 / (1.0 + time), lr))  # without noise
        >>> round(law.at(2000, 0.05).loss, 2)  # 1 + 2/(1 + 100)
        1.02
        >>> predict(Recorded(1.0 + 2.0 / (1.0 + 0.1 * steps), 0.1)).unknown
        'noise term'
    """
    several = [records] if isinstance(records, Recorded) else list(records)
    known = sum(int(np.isfinite(record.losses).sum()) for record in several)
    require(known >= FEWEST, f"{known} losses", f"are fewer than {FEWEST}", "Pass those of more steps.")
    rates = np.concatenate([np.diff(record.path.time)[_warm(record) :] for record in several])
    moving = bool(rates.max() >= MOVED * max(float(rates.min()), 1e-300))
    fit = LawFit([binned(record) for record in several], moving=moving)
    shapes = [(fit.solve(shape), shape) for shape in fit.grid()]
    _, start = min(shapes, key=lambda pair: pair[0].cost)
    shape, around = fit.refined(start)
    best = fit.solve(shape)
    freedom = max(1, fit.size - (7 if moving else 4))
    inflation = max(1.0, best.cost / freedom)
    weighed = [(math.exp(-(solved.cost - best.cost) / (2.0 * inflation)), one, solved) for solved, one in shapes]
    near = around(inflation)
    weighed += [(1.0 / len(near), one, fit.solve(one)) for one in near]
    total = sum(weight for weight, *_ in weighed)
    others = tuple(
        (weight / total, one, solved.factors, solved.covariance * inflation)
        for weight, one, solved in weighed
        if weight > 1e-4
    )
    floor, amplitude, noise = map(float, best.factors)
    least, largest = float(rates.min()), float(rates.max())
    unknown = None if moving else "noise term"
    misfit = math.sqrt(best.cost / freedom)
    return Prediction(floor, amplitude, noise, shape, unknown, misfit, (least, largest), others)


def _warm(record: Recorded) -> int:
    """Steps of a warm-up, which say little of noise: up to the first at 99% of the largest rate."""
    rates = np.diff(record.path.time)
    return int(np.argmax(rates >= 0.99 * rates.max()))


class Best(NamedTuple):
    """A schedule named by :func:`best_schedule`.

    Attributes:
        schedule: in parts of ``lr``, its time in steps.
        lr: largest rate.
        end: predicted loss at the end.
    """

    schedule: Curve
    lr: float
    end: Expected


@checked
def best_schedule(law: Prediction, steps: int, momentum: float = 0.0, batch_size: float = 1.0) -> Best:
    """Name the schedule whose end is predicted lowest: constant, then falling along a line, a wave or a power.

    Rates above those that were recorded are not tried: the law does not know where steps are unstable.

    Args:
        law: of :func:`predict`.
        steps: the budget.
        momentum: β of all steps.
        batch_size: B of all steps.

    Raises:
        InadmissibleValue: the noise is unknown.
    """
    require(steps >= 1, f"steps={steps}", "is below 1", "Pass the steps of the training.")
    if law.unknown is not None:
        raise InadmissibleValue(
            f"the {law.unknown} is unknown, without which no schedule is better than another. "
            "Pass to predict a second record at another rate, or one whose rate moved."
        )
    found: list[tuple[float, Curve, float]] = []
    pieces = min(steps, 400)
    for scale, share, fall in itertools.product((1.0, 0.7, 0.5, 0.35, 0.25), (0.1, 0.2, 0.4, 0.7, 1.0), _FALLS):
        kept, falling = steps * (1.0 - share), fall(steps * share)
        curve = Join((Constant(1.0, kept), falling)) if kept > 0 else falling
        rate = law.rates[1] * scale * _values(curve, steps, pieces)
        path = Path(np.append(0.0, np.cumsum(rate * steps / pieces)), rate * rate / batch_size * steps / pieces)
        found.append((law.ends(path).loss, curve, law.rates[1] * (1.0 - momentum) * scale))
    _, curve, lr = min(found, key=lambda one: one[0])
    whole = Path.of(lr * _values(curve, steps, steps), np.full(steps, momentum), np.full(steps, batch_size))
    return Best(curve, lr, law.ends(whole, band=True))


_FALLS: tuple[Callable[[float], Curve], ...] = (Linear, Cosine, lambda duration: Polynomial(duration, 2.0))


def _values(curve: Curve, steps: int, pieces: int) -> Array:
    """The curve in the middle of as many equal pieces."""
    return np.array([curve((k + 0.5) * steps / pieces) for k in range(pieces)])
