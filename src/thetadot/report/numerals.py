"""Numbers within sentences, which a browser does not break into lines."""

from __future__ import annotations

import re

from markupsafe import Markup, escape

from thetadot.report.names import clean

_NUMBER = re.compile(r"[-−+±]?\d(?:[\d.,]*\d)?(?:[eE][-+]?\d+|·10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)?[%⁻⁰¹²³⁴⁵⁶⁷⁸⁹]*(?: (?:s|min|h)\b)?")
LONGEST = 24
"""A number with more characters may break: else it would be wider than a telephone."""


def numerals(text: object) -> Markup:
    """Return escaped text with its numbers in spans that stay in one line.

    Example:
        >>> str(numerals("lr <1.02e-10> in 25 s"))
        'lr &lt;<span class="n">1.02e-10</span>&gt; in <span class="n">25 s</span>'
    """
    said = clean(str(text))
    found, at = [], 0
    for number in _NUMBER.finditer(said):
        if number.end() - number.start() > LONGEST:
            continue
        found += [escape(said[at : number.start()]), Markup('<span class="n">%s</span>') % number.group()]
        at = number.end()
    return Markup("").join([*found, escape(said[at:])])
