"""Numbers, percentages, durations, intervals, tables and near names as text: one form for pages and terminals."""

from __future__ import annotations

import html
import math
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def plain(value: float | None, digits: int = 3) -> str:
    """A number with a few significant digits, whole ones in full; "–" where there is none.

    Example:
        >>> [plain(x) for x in (0.0312345, 12345.6, 2.5e-7, 8192, 0.0, None)]
        ['0.0312', '12,346', '2.5e-07', '8,192', '0', '–']
    """
    if value is None or value != value:  # noqa: PLR0124 - only NaN is not itself
        return "–"
    if isinstance(value, int) and abs(value) < 10**15:
        return f"{value:,}"
    if not -1e300 < value < 1e300:
        return "beyond measure"
    if value != 0 and not 1e-4 <= abs(value) < 1e7:
        return f"{value:.{digits}g}"
    if value == round(value):
        return f"{round(value):,}"
    decimals = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
    text = f"{value:,.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def share(part: float) -> str:
    """A fraction of one as a percentage of two digits; more where it is nearly all.

    Example:
        >>> [share(x) for x in (0.12, 0.9893, 0.0091, 0.00004, 1.3)]
        ['12%', '98.9%', '0.91%', 'less than 0.01%', '130%']
    """
    percent = 100 * part
    if 0 < percent < 0.01:
        return "less than 0.01%"
    if 90 < percent < 100:  # what is missing to all of it is what matters, and nearly all is not all
        return f"{min(round(percent, 1), 99.9):g}%"
    return f"{plain(percent, 2 if percent < 100 else 3)}%"


def ratio(part: float) -> str:
    """A fraction of something as text that goes before its name: a percentage, beyond twice as much a factor.

    Example:
        >>> [f"{ratio(x)} the loss" for x in (0.12, 1.3, 1.03e7)]
        ['12% of the loss', '130% of the loss', '1.03e+07 times the loss']
    """
    return f"{share(part)} of" if part < 2 else times(part)


def duration(seconds: float) -> str:
    """A time span in its two largest units.

    Example:
        >>> [duration(s) for s in (0.31, 25.2, 200, 7500)]
        ['0.31 s', '25 s', '3 min 20 s', '2 h 5 min']
    """
    if not 0 <= seconds < 1e15:
        return "an unknown time"
    if seconds < 9.95:
        return f"{plain(seconds, 2)} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"


def count(number: int, noun: str) -> str:
    """A number of things, the noun in its plural where there are several.

    Example:
        >>> count(1, "trial"), count(2000, "step")
        ('1 trial', '2,000 steps')
    """
    return f"{plain(number)} {noun}" + ("" if number == 1 else "s")


def between(low: float | None, high: float | None) -> str:
    """A 95% interval in brackets; "" where there is none.

    Example:
        >>> between(10.0, 40.0), between(None, 40.0)
        (' (95%: 10 to 40)', '')
    """
    return "" if low is None or high is None else f" (95%: {plain(low)} to {plain(high)})"


def times(factor: float) -> str:
    """A factor in words.

    Example:
        >>> times(3.14159), times(0.5)
        ('3.14 times', '0.5 times')
    """
    return f"{plain(factor)} times"


def nearest(name: str, known: Iterable[str]) -> str:
    """``; did you mean ...?`` for a name that resembles a known one, else a full stop.

    Example:
        >>> nearest("dirac_gan", ["dirac-gan", "jacobi"]), nearest("zzz", ["jacobi"])
        ("; did you mean 'dirac-gan'?", '.')
    """
    found = get_close_matches(name.lower().replace("_", "-"), list(known), n=1, cutoff=0.6)
    return f"; did you mean {found[0]!r}?" if found else "."


def html_table(rows: Iterable[tuple[str, str]]) -> str:
    """Names and values as a table for a notebook, every character of them escaped.

    Example:
        >>> html_table([("loss", "<1")])
        "<table><tr><th style='text-align:left'>loss</th><td style='text-align:left'>&lt;1</td></tr></table>"
    """
    left = "style='text-align:left'"
    cells = (f"<th {left}>{html.escape(name)}</th><td {left}>{html.escape(value)}</td>" for name, value in rows)
    return "<table>" + "".join(f"<tr>{row}</tr>" for row in cells) + "</table>"
