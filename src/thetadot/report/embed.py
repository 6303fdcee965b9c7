"""Bokeh figures as one JSON text for an inline script."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from bokeh.document import Document
from bokeh.models.renderers import GlyphRenderer
from bokeh.resources import Resources

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bokeh.plotting import figure

_ID = re.compile(r"p\d+")


def script() -> str:
    """The core of BokehJS: no widgets, no tables, no mathematics, which would not fit or would be fetched."""
    core: str = Resources(mode="inline", components=["bokeh"], minified=True).js_raw[0]
    return core


def embed(roots: Sequence[figure]) -> tuple[str, list[str]]:
    """The figures as JSON that is safe inside a script element, and the identifier of each, in order."""
    document = Document()
    for root in roots:
        for renderer in root.renderers:
            if isinstance(renderer, GlyphRenderer):  # nothing is selected or muted: copies of glyphs would be a third
                renderer.nonselection_glyph = renderer.muted_glyph = None
    with document.models.freeze():  # each root by itself would have all models counted anew
        for root in roots:
            document.add_root(root)
    content: Any = document.to_json(deferred=False)
    names: dict[str, str] = {}
    _renumber(content, names)
    text = json.dumps(content, separators=(",", ":"))
    # "<" could end the script element, or open a comment in it
    return text.replace("<", "\\u003c"), [names[root.id] for root in roots]


def _renumber(node: Any, names: dict[str, str]) -> None:
    """Count models from one in each page, not in each process: the same record gives the same page."""
    if isinstance(node, dict):
        if isinstance(node.get("id"), str) and _ID.fullmatch(node["id"]):
            node["id"] = names.setdefault(node["id"], f"m{len(names) + 1}")
        for value in node.values():
            _renumber(value, names)
    elif isinstance(node, list):
        for value in node:
            _renumber(value, names)
