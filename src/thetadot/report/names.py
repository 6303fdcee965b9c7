"""Strings of a record on the page: on one line, of bounded length, without control characters."""

from __future__ import annotations

LONGEST = 2000
"""No string of a record takes more of the page than this."""


def abbreviated(text: str, most: int) -> str:
    """A dotted name whose first parts are cut to first letter and number, as few as it takes; its end stays.

    Example:
        >>> abbreviated("encoder.layers.11.mlp.linear2.weight", most=20)
        'e.l.11.m.l2.weight'
    """
    parts = clean(text).split(".")
    for place in range(len(parts) - 1):
        if len(".".join(parts)) <= most:
            break
        number = parts[place][len(parts[place].rstrip("0123456789")) :]
        parts[place] = number if number == parts[place] else parts[place][:1] + number
    return clean(".".join(parts), most)


def clean(text: str, most: int = LONGEST) -> str:
    r"""Return one line without control and direction characters, shortened in its middle.

    Example:
        >>> clean("layers.0\u202eevil"), clean("encoder.layers.11.attention.weight", most=20)
        ('layers.0�evil', 'encoder.l…ion.weight')
    """
    if len(text) > most:
        head = (most - 1) // 2
        text = f"{text[:head]}…{text[head + 1 - most :]}"
    return "".join(c if c.isprintable() else " " if c.isspace() else "�" for c in text)
