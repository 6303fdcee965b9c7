"""The page: pictures, words and numbers of records set into one self-contained HTML text."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import jinja2

from thetadot.records import Record
from thetadot.report.embed import embed, script
from thetadot.report.figures import (
    barriers,
    cooling,
    critical,
    curvature,
    equilibrium,
    ladder,
    layers,
    losses,
    noise,
    plane,
    portrait,
    regularization,
    settings,
    trials,
)
from thetadot.report.figures.frame import Timeline
from thetadot.report.figures.picture import Key
from thetadot.report.names import clean
from thetadot.report.palette import DARK, LIGHT, RAMP, SCALE
from thetadot.report.runs import line_up
from thetadot.report.scaling import scaling
from thetadot.report.summary import summarize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thetadot.report.figures.picture import Panel, Picture
    from thetadot.report.runs import Run

MOST_UNREADABLE = 20


@dataclass(frozen=True)
class Section:
    """One part of the page: its pictures, or what to say when the records have none; it vanishes without either."""

    name: str
    title: str
    pictures: tuple[Picture, ...]
    silent: str = ""


def render(
    records: Record | Sequence[Record],
    title: str | None = None,
    *,
    unreadable: Sequence[str] = (),
    live: str | None = None,
) -> str:
    """The page of one run or of several over one another, finished or not.

    Args:
        records: what :func:`thetadot.records.read` returned, once or several times.
        title: heading of the page; the task's name, or the number of runs, where it is None.
        unreadable: a sentence for each record that could not be read, to be said at the top.
        live: a stamp of the records' state; the page then asks its server for news. None: the page asks nobody.

    Raises:
        InadmissibleValue: no record, or more than colours and line styles tell apart.
    """
    runs = line_up([records] if isinstance(records, Record) else records)
    sections = _sections(runs)
    pictures = [picture for section in sections for picture in section.pictures]
    panels = [panel for picture in pictures for panel in picture.panels]
    feet = {id(panel): _foot(panel) for panel in panels}
    document, roots = embed([panel.figure for panel in panels])
    scripts = (script(), _asset("theme.js"), *([_asset("live.js")] if live is not None else []))
    alone = runs[0].record.header.task if len(runs) == 1 else f"{len(runs)} runs"
    return _template().render(
        title=title or alone or "A run",
        runs=runs,
        several=len(runs) > 1,
        summaries=[summarize(run) for run in runs],
        unreadable=unreadable[:MOST_UNREADABLE],
        more_unreadable=max(len(unreadable) - MOST_UNREADABLE, 0),
        sections=sections,
        scalings=[table for table in map(scaling, runs) if table is not None],
        root_of={id(panel): root for panel, root in zip(panels, roots, strict=True)},
        foot_of=feet,
        key=id,
        document=document,
        scripts=scripts,
        policy=policy(scripts, live=live is not None),
        live=live,
        style=_asset("style.css"),
        light=LIGHT,
        dark=DARK,
        ramp=RAMP,
        scale=SCALE,
    )


def _sections(runs: Sequence[Run]) -> list[Section]:
    line = Timeline(runs)
    ours = any(run.record.header.watched is None for run in runs)
    planned: list[tuple[str, str, list[Picture | None], str]] = [
        ("chosen", "What was chosen, and why", [trials.picture(runs)], "No trials are recorded."),
        ("loss", "Loss along the run", [losses.picture(runs, line)], "No steps and no epochs are recorded yet."),
        ("settings", "Settings and what they mean", [settings.picture(runs, line)], "No steps are recorded yet."),
        (
            "curvature",
            "Curvature and stability",
            [curvature.picture(runs, line), ladder.picture(runs), barriers.picture(runs, line)],
            "No upward curvature was measured.",
        ),
        (
            "noise",
            "Noise and temperature",
            [noise.picture(runs, line), cooling.picture(runs, line)],
            "The noise was not measured.",
        ),
        ("batch", "Batch size and learning rate", [critical.picture(runs), plane.picture(runs)], ""),
        (
            "equilibrium",
            "Rest or motion",
            [equilibrium.picture(runs, line), regularization.picture(runs, line)],
            "",
        ),
        ("layers", "Layers", [layers.picture(runs, line)], ""),
        ("portrait", "The run as a path", [portrait.picture(runs)], "The way of the motion is not recorded."),
    ]
    found = [
        Section(name, title, tuple(_keyed(p, runs) for p in drawn if p is not None), silent if ours else "")
        for name, title, drawn, silent in planned
    ]
    return [section for section in found if section.pictures or section.silent]


def _keyed(picture: Picture, runs: Sequence[Run]) -> Picture:
    """The picture with the runs in front of its key, where there are several."""
    if len(runs) == 1:
        return picture
    marks: Any = {"solid": "line", "dotdash": "dotdash", "dashed": "dashed", "dotted": "dotted"}
    drawn = {renderer.name for panel in picture.panels for renderer in panel.figure.renderers}
    named = tuple(Key(marks[run.dash()], run.role("ink"), run.name) for run in runs if run.name in drawn)
    return replace(picture, keys=(*named, *picture.keys))


def _foot(panel: Panel) -> str:
    """The name of the horizontal axis, taken out of the figure: as text of the page it wraps and leaves no specks."""
    axis: Any = panel.figure.xaxis[0]
    text, axis.axis_label = str(axis.axis_label or ""), None
    return text


def _asset(name: str) -> str:
    # a page has line ends of one kind: the browser's hash of a script is of the text after it has unified them
    return (files("thetadot.report") / name).read_text(encoding="utf-8").replace("\r\n", "\n")


def _template() -> jinja2.Template:
    environment: Any = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: clean(value) if type(value) is str else value,
    )
    template: jinja2.Template = environment.from_string(_asset("template.html.jinja"))
    return template


def policy(scripts: Sequence[str], *, live: bool) -> str:
    """The browser runs these scripts and no other, and fetches nothing, or only from where the page came."""
    hashes = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    news = "connect-src 'self'; " if live else ""
    return (
        f"default-src 'none'; script-src {allowed}; {news}style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
