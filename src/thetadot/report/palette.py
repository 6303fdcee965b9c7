"""Colours by role, for light and dark, shared by page and pictures; hues that the colour-blind tell apart."""

from __future__ import annotations

from typing import Any

from bokeh.palettes import Cividis256

LIGHT = {
    "page": "#f5f6f8",
    "card": "#ffffff",
    "ink": "#1b1f24",
    "soft": "#57606a",
    "line": "#d5dae0",
    "grid": "#e9ecf0",
    "accent": "#0a58b5",
    "blue": "#0068b3",
    "orange": "#c25700",
    "green": "#00785a",
    "purple": "#8a489f",
    "red": "#c5162e",
    "grey": "#8b949e",
}
DARK = {
    "page": "#0e1116",
    "card": "#161b22",
    "ink": "#e6e9ed",
    "soft": "#a2abb6",
    "line": "#333b46",
    "grid": "#252c36",
    "accent": "#6db3f8",
    "blue": "#58aef0",
    "orange": "#f2a04c",
    "green": "#45cfa2",
    "purple": "#d09ae2",
    "red": "#ff7b7f",
    "grey": "#7d8793",
}
RAMP = ("#2f6fd0", "#5f66cf", "#8a5cc0", "#b155a3", "#d0577f", "#e2695a", "#ea8436")
"""Early to late, of middle lightness: seen on white and on black."""

SCALE = tuple(Cividis256[at] for at in range(0, 256, 51))
"""Little to much in a picture of cells: of one direction in lightness, also for the colour-blind."""


def paint(model: Any, **roles: str) -> None:
    """Colour a model's properties by role, and note the roles so that the page can repaint it when the mode changes."""
    for name, role in roles.items():
        setattr(model, name, LIGHT[role])
    model.tags = [{"paint": roles}]
