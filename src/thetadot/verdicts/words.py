"""Numbers and intervals as a sentence says them."""

from __future__ import annotations

import math


def plain(value: float) -> str:
    """Three significant digits; whole numbers, which are counts, in full.

    Example:
        >>> [plain(x) for x in (0.0312345, 12345.6, 2.5e-7, 8192, 0.0)]
        ['0.0312', '12,300', '2.5e-07', '8,192', '0']
    """
    if not math.isfinite(value):
        return "beyond measure"
    if value == round(value) and abs(value) < 1e7:
        return f"{round(value):,}"
    if not 1e-4 <= abs(value) < 1e7:
        return f"{value:.3g}"
    digits = 2 - math.floor(math.log10(abs(value)))
    text = f"{round(value, digits):,.{max(digits, 0)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def share(value: float) -> str:
    """A part of one in percent.

    Example:
        >>> share(0.876), share(0.004), share(1.0)
        ('88%', '0.4%', '100%')
    """
    return f"{100 * value:.{0 if value >= 0.1 else 1}f}%"


def between(low: float | None, high: float | None) -> str:
    """A 95% interval in brackets; "" where there is none.

    Example:
        >>> between(10.0, 40.0), between(None, 40.0)
        (' (95%: 10 to 40)', '')
    """
    return "" if low is None or high is None else f" (95%: {plain(low)} to {plain(high)})"


def times(count: float) -> str:
    """How many times.

    Example:
        >>> times(3.14159), times(0.5)
        ('3.14 times', '0.5 times')
    """
    return f"{plain(count)} times"


def measured(count: int) -> str:
    """How many measurements.

    Example:
        >>> measured(1), measured(4)
        ('1 measurement', '4 measurements')
    """
    return f"{count} measurement{'' if count == 1 else 's'}"
