"""A picture of the page: figures with the sentences that make them readable."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from bokeh.plotting import figure

Mark = Literal[
    "line", "thin", "dashed", "dots", "dotted", "dotdash", "upright", "dot", "square", "diamond", "open", "cross",
    "ring", "band", "ramp",
]  # fmt: skip


@dataclass(frozen=True)
class Key:
    """A line of a picture's key."""

    mark: Mark
    role: str
    text: str


@dataclass(frozen=True)
class Panel:
    """A figure; its label names the vertical axis, as rotated text is hard to read."""

    label: str
    unit: str
    figure: figure
    run: int | None = None  # the only run in it, if others have panels of their own


@dataclass(frozen=True)
class Show:
    """A quantity that a picture can show, chosen by a button; with the ends of its colours."""

    name: str
    label: str
    low: str
    high: str


@dataclass(frozen=True)
class Picture:
    """A picture: heading, reading instructions, each run's caption ("" for none), and figures.

    Where it has frames, named by their times, every source that moves says so in a tag, {"frames": columns}, and has a
    column "y@3" for what its column "y" is at frame 3 (:func:`thetadot.report.figures.frame.moving_source`).
    """

    name: str
    heading: str
    reading: str
    says: tuple[str, ...]
    panels: tuple[Panel, ...]
    keys: tuple[Key, ...] = field(default=())
    columns: int = 1
    shows: tuple[Show, ...] = ()
    frames: tuple[str, ...] = ()
