r"""Curves: schedules as pure functions of time, in whatever unit time is given.

    Constant            s = c
    Linear, Cosine      from first to last over a duration, by the shapes of :mod:`thetadot.schedules.shapes`
    Polynomial          last + (first - last)(1 - t/duration)ᵖ
    Power               first (1 + t/scale)⁻ᵖ, without end
    Piecewise           values at knots: kept until the next one, or joined by straight lines
    Join                one after another, each in its own time

A curve knows no unit: steps, samples, tokens, epochs and physical time are numbers t >= 0, and
:class:`~thetadot.schedules.clock.Clock` says which. By default it is a share of what it moves, from 1 on. After its
duration a curve keeps its last value.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence  # noqa: TC003 - asked at run time
from dataclasses import dataclass
from typing import Literal

from thetadot.core.signatures import checked
from thetadot.core.validation import require_finite
from thetadot.errors import require
from thetadot.schedules.shapes import cosine, linear

Fall = Literal["linear", "cosine"]


class Curve:
    """A pure function of time t >= 0.

    Attributes:
        duration: time after which it is constant; infinite if it never is.
    """

    duration: float

    def value(self, t: float) -> float:
        """Return the value at a time within the duration."""
        raise NotImplementedError

    def __call__(self, t: float) -> float:
        """The value at time t; the last one after the duration."""
        require(0 <= t < math.inf, f"t={t:g}", "is negative or not finite", "Pass the time passed since the start.")
        return self.value(min(float(t), self.duration))


@checked
@dataclass(frozen=True)
class Constant(Curve):
    """One value all the time.

    Args:
        height: the value.
        duration: its time, where another curve follows.

    Example:
        >>> Constant(0.5)(1000)
        0.5
    """

    height: float = 1.0
    duration: float = math.inf

    def __post_init__(self) -> None:
        require_finite(height=self.height)
        _require_duration(self.duration, finite=False)

    def value(self, t: float) -> float:  # noqa: ARG002
        """Return the height at any time."""
        return self.height


@checked
@dataclass(frozen=True)
class Linear(Curve):
    """A straight line from first to last.

    Args:
        duration: > 0.
        first: at t = 0.
        last: at the duration, and after it.

    Example:
        >>> [Linear(10)(t) for t in (0, 5, 10, 20)], Linear(10, 0.0, 1.0)(5)
        ([1.0, 0.5, 0.0, 0.0], 0.5)
    """

    duration: float
    first: float = 1.0
    last: float = 0.0

    def __post_init__(self) -> None:
        _require_ends(self.duration, self.first, self.last)

    def value(self, t: float) -> float:
        """Return the point of the line at t."""
        return _between(self.first, self.last, linear(t / self.duration))


@checked
@dataclass(frozen=True)
class Cosine(Curve):
    """Half a wave from first to last, flat at both ends.

    Args:
        duration: > 0.
        first: at t = 0.
        last: at the duration, and after it.

    Example:
        >>> [round(Cosine(10)(t), 12) for t in (0, 5, 10)]
        [1.0, 0.5, 0.0]
    """

    duration: float
    first: float = 1.0
    last: float = 0.0

    def __post_init__(self) -> None:
        _require_ends(self.duration, self.first, self.last)

    def value(self, t: float) -> float:
        """Return the point of the wave at t."""
        return _between(self.first, self.last, cosine(t / self.duration))


@checked
@dataclass(frozen=True)
class Polynomial(Curve):
    """A power of the time that is left: last + (first - last)(1 - t/duration)ᵖ.

    Args:
        duration: > 0.
        exponent: p > 0; 1 is a straight line.
        first: at t = 0.
        last: at the duration, and after it.

    Example:
        >>> [Polynomial(10, 2)(t) for t in (0, 5, 10)]
        [1.0, 0.25, 0.0]
    """

    duration: float
    exponent: float
    first: float = 1.0
    last: float = 0.0

    def __post_init__(self) -> None:
        _require_ends(self.duration, self.first, self.last)
        _require_exponent(self.exponent)

    def value(self, t: float) -> float:
        """Return the point of the curve at t."""
        return _between(self.first, self.last, (1.0 - t / self.duration) ** self.exponent)


@checked
@dataclass(frozen=True)
class Power(Curve):
    """A power of the time that has passed: first (1 + t/scale)⁻ᵖ.

    p = 1/2 is the inverse square root, p = 2 :func:`~thetadot.schedules.amos_schedule` at scale 1/(α₀p).

    Args:
        scale: > 0, the time after which the power is seen.
        exponent: p > 0.
        first: at t = 0.
        duration: its time, where another curve follows.

    Example:
        >>> Power(100, 0.5)(300), Power(100, 2)(100)
        (0.5, 0.25)
    """

    scale: float
    exponent: float
    first: float = 1.0
    duration: float = math.inf

    def __post_init__(self) -> None:
        require(0 < self.scale < math.inf, f"scale={self.scale:g}", "is not positive and finite", "Pass scale > 0.")
        _require_exponent(self.exponent)
        require_finite(first=self.first)
        _require_duration(self.duration, finite=False)

    def value(self, t: float) -> float:
        """Return the power at t."""
        return float(self.first * (1.0 + t / self.scale) ** -self.exponent)


@checked
@dataclass(frozen=True)
class Piecewise(Curve):
    """Values at knots in time, kept until the next knot or joined by straight lines.

    Args:
        times: of the knots, rising, the first one 0.
        values: as many.
        between: "steps" keeps a value until the next knot, at which the next one holds; "lines" joins them.

    Example:
        >>> Piecewise((0, 10), (1.0, 0.1))(9.9), Piecewise((0, 10), (1.0, 0.1))(10)
        (1.0, 0.1)
        >>> Piecewise((0, 10), (1.0, 0.5), between="lines")(5)
        0.75
    """

    times: Sequence[float]
    values: Sequence[float]
    between: Literal["steps", "lines"] = "steps"

    def __post_init__(self) -> None:
        object.__setattr__(self, "times", tuple(map(float, self.times)))
        object.__setattr__(self, "values", tuple(map(float, self.values)))
        require_finite(times=self.times, values=self.values)
        came = f"times={self.times}"
        require(len(self.times) > 0 and self.times[0] == 0, came, "do not begin at 0", "Pass the first knot at 0.")
        rising = all(one < other for one, other in zip(self.times, self.times[1:], strict=False))
        require(rising, came, "do not rise", "Pass the knots in the order of time, each once.")
        require(
            len(self.values) == len(self.times),
            f"{len(self.values)} values at {len(self.times)} times",
            "are not one each",
            "Pass one value per time.",
        )
        require(
            self.between in ("steps", "lines"), f"between={self.between!r}", "is unknown", "Pass 'steps' or 'lines'."
        )

    @property
    def duration(self) -> float:  # type: ignore[override]
        """Time of the last knot."""
        return self.times[-1]

    def value(self, t: float) -> float:
        """Return the last knot's value, or the point of the line to the next one."""
        place = bisect_right(self.times, t) - 1
        if self.between == "steps" or place == len(self.times) - 1:
            return self.values[place]
        share = (t - self.times[place]) / (self.times[place + 1] - self.times[place])
        return _between(self.values[place], self.values[place + 1], 1.0 - share)


@checked
@dataclass(frozen=True)
class Join(Curve):
    """Curves one after another, each in its own time; the last one goes on.

    Args:
        parts: each but the last of finite duration.

    Example:
        >>> warm = Join((Linear(10, 0.0, 1.0), Cosine(90)))
        >>> warm(5), warm(10), round(warm(55), 12), warm.jumps()
        (0.5, 1.0, 0.5, ())
        >>> Join((Constant(1.0, 10), Constant(0.1))).jumps()
        ((10.0, 1.0, 0.1),)
    """

    parts: Sequence[Curve]

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(self.parts))
        require(len(self.parts) > 0, "parts=()", "is empty", "Pass at least one curve.")
        for place, part in enumerate(self.parts[:-1]):
            require(
                part.duration < math.inf,
                f"parts[{place}]={part}",
                "never ends, and others follow",
                "Pass its duration.",
            )

    @property
    def duration(self) -> float:  # type: ignore[override]
        """Summed time of the parts."""
        return math.fsum(part.duration for part in self.parts)

    def value(self, t: float) -> float:
        """Return the value of the part that holds t; where two meet, of the later one."""
        starts = self.starts()
        place = bisect_right(starts, t) - 1
        ended = t >= self.duration  # where t - start may round to less than the last part's duration
        return self.parts[place](self.parts[-1].duration if ended else t - starts[place])

    def starts(self) -> tuple[float, ...]:
        """Return the times at which the parts begin."""
        return tuple(math.fsum(part.duration for part in self.parts[:place]) for place in range(len(self.parts)))

    def jumps(self) -> tuple[tuple[float, float, float], ...]:
        """Where one part does not begin where the last one ended: time, value before, value after."""
        meetings = zip(self.starts()[1:], self.parts, self.parts[1:], strict=False)
        found = ((time, one(one.duration), other(0.0)) for time, one, other in meetings)
        return tuple(
            (time, before, after) for time, before, after in found if not math.isclose(before, after, abs_tol=1e-12)
        )


@checked
def warmup_stable_decay(
    duration: float, warmup: float, decay: float, first: float = 0.0, last: float = 0.0, fall: Fall = "linear"
) -> Join:
    """Rise to 1, stay there, and fall at the end.

    Args:
        duration: of the whole.
        warmup: time of the rise >= 0.
        decay: time of the fall >= 0; ``warmup + decay <= duration``.
        first: where the rise begins.
        last: where the fall ends.
        fall: along a straight line, or half a wave.

    Raises:
        InadmissibleValue: outside these ranges.

    Example:
        >>> schedule = warmup_stable_decay(100, warmup=10, decay=40)
        >>> [schedule(t) for t in (0, 5, 10, 60, 80, 100)]
        [0.0, 0.5, 1.0, 1.0, 0.5, 0.0]
    """
    _require_duration(duration, finite=True)
    for name, value in (("warmup", warmup), ("decay", decay)):
        require(0 <= value < math.inf, f"{name}={value:g}", "is negative or not finite", f"Pass {name} >= 0.")
    require(
        warmup + decay <= duration,
        f"warmup={warmup:g} and decay={decay:g}",
        f"are more than duration={duration:g} together",
        "Pass a longer duration.",
    )
    require(fall in ("linear", "cosine"), f"fall={fall!r}", "is unknown", "Pass 'linear' or 'cosine'.")
    falling = Linear if fall == "linear" else Cosine
    parts: list[Curve] = [Linear(warmup, first, 1.0)] if warmup else []
    if duration > warmup + decay:
        parts.append(Constant(1.0, duration - warmup - decay))
    if decay:
        parts.append(falling(decay, 1.0, last))
    return Join(tuple(parts))


def _between(first: float, last: float, share: float) -> float:
    """A point between two values: exactly ``first`` at share 1 and ``last`` at 0."""
    return first * share + last * (1.0 - share)


def _require_duration(duration: float, *, finite: bool) -> None:
    admissible = 0 < duration < math.inf if finite else duration > 0
    said = "is not positive and finite" if finite else "is not positive"
    require(admissible, f"duration={duration:g}", said, "Pass duration > 0.")


def _require_ends(duration: float, first: float, last: float) -> None:
    _require_duration(duration, finite=True)
    require_finite(first=first, last=last)


def _require_exponent(exponent: float) -> None:
    require(0 < exponent < math.inf, f"exponent={exponent:g}", "is not positive and finite", "Pass exponent > 0.")
