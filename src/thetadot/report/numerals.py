"""Numbers within sentences, which a browser does not break into lines."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

from thetadot.report.names import clean

_NUMBER = re.compile(r"[-−+±]?\d(?:[\d.,]*\d)?(?:[eE][-+]?\d+|·10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)?[%⁻⁰¹²³⁴⁵⁶⁷⁸⁹]*(?: (?:s|min|h)\b)?")
_BREAKS = re.compile(r"[-−+±eE·⁻ ]")
LONGEST = 24
"""A number with more characters may break: else it would be wider than a telephone."""


def numerals(text: object) -> Markup:
    """Return escaped text; numbers that could be broken, at a sign, exponent or unit, are in spans that are not.

    Example:
        >>> str(numerals("lr <1.02e-10> in 25 s, 9 steps"))
        'lr &lt;<span class="n">1.02e-10</span>&gt; in <span class="n">25 s</span>, 9 steps'
    """
    said = clean(str(text))
    found, at = [], 0
    for number in _NUMBER.finditer(said):
        if number.end() - number.start() > LONGEST or not _BREAKS.search(number.group()):
            continue
        found += [escape(said[at : number.start()]), Markup('<span class="n">%s</span>') % number.group()]
        at = number.end()
    return Markup("").join([*found, escape(said[at:])])
