"""Frame of every page: styles, colours, scripts and a policy that forbids the network."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import jinja2

from thetadot.report.embed import embed, script
from thetadot.report.names import clean
from thetadot.report.numerals import numerals
from thetadot.report.palette import DARK, LIGHT, RAMP, SCALE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thetadot.report.figures.picture import Panel, Picture


def compose(template: str, drawn: Sequence[Picture], *, live: str | None = None, **context: Any) -> str:
    """Compose a page from a template and pictures.

    Args:
        template: text that extends "shell.html.jinja".
        drawn: all pictures of the template, set by the macro of "picture.html.jinja".
        live: a stamp; the page then asks its server for news. None: the page asks nobody.
        context: the template's own names; "title", "runs" and "several" are the shell's.
    """
    panels = [panel for picture in drawn for panel in picture.panels]
    feet = {id(panel): _foot(panel) for panel in panels}
    document, roots = embed([panel.figure for panel in panels])
    scripts = [script(), asset("theme.js")]
    scripts += [asset("live.js")] if live is not None else []
    scripts += [asset("frames.js")] if any(picture.frames for picture in drawn) else []
    return (
        _environment()
        .from_string(template)
        .render(
            root_of={id(panel): root for panel, root in zip(panels, roots, strict=True)},
            foot_of=feet,
            key=id,
            document=document,
            scripts=scripts,
            policy=policy(scripts, live=live is not None),
            live=live,
            style=asset("style.css"),
            light=LIGHT,
            dark=DARK,
            ramp=RAMP,
            scale=SCALE,
            **context,
        )
    )


def _foot(panel: Panel) -> str:
    """The name of the horizontal axis, taken out of the figure: as text of the page it wraps and leaves no specks."""
    axis: Any = panel.figure.xaxis[0]
    text, axis.axis_label = str(axis.axis_label or ""), None
    return text


def asset(name: str) -> str:
    """A file of the page, as text."""
    # a page has line ends of one kind: the browser's hash of a script is of the text after it has unified them
    return (files("thetadot.report") / name).read_text(encoding="utf-8").replace("\r\n", "\n")


def _environment() -> jinja2.Environment:
    settings: Any = {"finalize": lambda value: clean(value) if type(value) is str else value}
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(asset),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        **settings,
    )
    environment.filters["numerals"] = numerals
    return environment


def policy(scripts: Sequence[str], *, live: bool) -> str:
    """The browser runs these scripts and no other, and fetches nothing, or only from where the page came."""
    hashes = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    news = "connect-src 'self'; " if live else ""
    return (
        f"default-src 'none'; script-src {allowed}; {news}style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
