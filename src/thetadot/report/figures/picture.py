"""A picture of the page: figures with the sentences that make them readable."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from bokeh.plotting import figure

Mark = Literal["line", "thin", "dots", "upright", "dot", "square", "diamond", "open", "cross", "ring", "band", "ramp"]


@dataclass(frozen=True)
class Key:
    """One line of a picture's key."""

    mark: Mark
    role: str
    text: str


@dataclass(frozen=True)
class Panel:
    """One figure; its label names the vertical axis, as rotated text is hard to read."""

    label: str
    unit: str
    figure: figure


@dataclass(frozen=True)
class Picture:
    """What it shows, how to read it, what this run says, and the figures."""

    name: str
    heading: str
    reading: str
    says: str
    panels: tuple[Panel, ...]
    keys: tuple[Key, ...] = field(default=())
    columns: int = 1
