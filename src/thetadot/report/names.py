"""Strings of a record as the page shows them: on one line, of bounded length, and as themselves."""

from __future__ import annotations

LONGEST = 2000
"""No string of a record takes more of the page than this."""


def abbreviated(text: str, most: int) -> str:
    """A dotted name whose first parts are cut to their first letter, as few as it takes; what tells it apart stays.

    Example:
        >>> abbreviated("encoder.layers.11.attention.weight", most=24)
        'e.l.11.attention.weight'
    """
    parts = clean(text).split(".")
    for place in range(len(parts) - 1):
        if len(".".join(parts)) <= most:
            break
        parts[place] = parts[place] if parts[place].isdecimal() else parts[place][:1]
    return clean(".".join(parts), most)


def clean(text: str, most: int = LONGEST) -> str:
    """One line without control and direction characters, shortened in its middle.

    Example:
        >>> clean("layers.0\\u202eevil"), clean("encoder.layers.11.attention.weight", most=20)
        ('layers.0�evil', 'encoder.l…ion.weight')
    """
    if len(text) > most:
        head = (most - 1) // 2
        text = f"{text[:head]}…{text[head + 1 - most :]}"
    return "".join(c if c.isprintable() else " " if c.isspace() else "�" for c in text)
