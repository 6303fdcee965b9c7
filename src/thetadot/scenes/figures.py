"""A result's pictures as one bokeh layout, for notebooks."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from bokeh.layouts import column, row
from bokeh.models import ColumnDataSource, CustomJS
from bokeh.models.widgets import Div, Slider

from thetadot.report.palette import LIGHT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thetadot.report.figures.picture import Key, Panel, Picture

_MOVE = """
const at = slider.value;
slider.title = labels[at];
sources.forEach((source, index) => {
  const data = {...source.data};
  for (const name of names[index]) data[name] = data[`${name}@${at}`];
  source.data = data;
});
"""


def layout_of(pictures: Sequence[Picture]) -> Any:
    """Return pictures below one another, each with its heading, how to read it, and its key."""
    return column([part for picture in pictures for part in _picture_parts(picture)], sizing_mode="stretch_width")


def _picture_parts(picture: Picture) -> list[Any]:
    key = " &nbsp; ".join(map(_legend_entry, picture.keys))
    text = f"<h3>{escape(picture.heading)}</h3><p>{escape(picture.reading)}</p><p>{key}</p>"
    wide = picture.columns
    panels = [column(_label(panel), panel.figure, sizing_mode="stretch_width") for panel in picture.panels]
    return [
        Div(text=text, sizing_mode="stretch_width"),
        *([_slider(picture)] if len(picture.frames) > 1 else []),
        *(row(panels[at : at + wide], sizing_mode="stretch_width") for at in range(0, len(panels), wide)),
    ]


def _slider(picture: Picture) -> Slider:
    """Chooses the frame that is seen: each moving source holds the columns of all frames."""
    found = [source for panel in picture.panels for source in panel.figure.select({"type": ColumnDataSource})]
    moving = [(source, tag["frames"]) for source in found for tag in source.tags if "frames" in tag]
    last = len(picture.frames) - 1
    slider = Slider(start=0, end=last, value=last, step=1, title=picture.frames[-1], show_value=False)
    given = {
        "slider": slider,
        "labels": list(picture.frames),
        "sources": [source for source, _ in moving],
        "names": [names for _, names in moving],
    }
    slider.js_on_change("value", CustomJS(args=given, code=_MOVE))
    return slider


def _label(panel: Panel) -> Div:
    unit = f" [{panel.unit}]" if panel.unit else ""
    return Div(text=escape(panel.label + unit))


def _legend_entry(key: Key) -> str:
    return f'<span style="color:{LIGHT.get(key.role, LIGHT["ink"])}">&#9632;</span> {escape(key.text)}'
