"""The page: pictures, words and numbers of records set into one self-contained HTML text."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thetadot.core.signatures import checked
from thetadot.records import Record, opened
from thetadot.report.figures import (
    barriers,
    cooling,
    critical,
    curvature,
    equilibrium,
    forks,
    ladder,
    layers,
    losses,
    noise,
    plane,
    portrait,
    regularization,
    settings,
)
from thetadot.report.figures.frame import Timeline
from thetadot.report.figures.picture import Key
from thetadot.report.judgement import STATES
from thetadot.report.runs import line_up
from thetadot.report.scaling import scaling
from thetadot.report.several import compared
from thetadot.report.shell import asset, compose
from thetadot.report.summary import summarize, why_unseen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from thetadot.report.figures.picture import Picture
    from thetadot.report.runs import RecordedRun

MOST_UNREADABLE = 20


@dataclass(frozen=True)
class Section:
    """A part of the page: its pictures, or what to say without any; left out without either."""

    name: str
    title: str
    pictures: tuple[Picture, ...]
    silent: str = ""


@checked
def render(
    records: Record | str | Path | Sequence[Record | str | Path],
    title: str | None = None,
    *,
    unreadable: Sequence[str] = (),
    live: str | None = None,
) -> str:
    """The page of one run or of several over one another, finished or not.

    Args:
        records: a record, or the folder or file of one, or several of these.
        title: heading of the page; the task's name, or the number of runs, where it is None.
        unreadable: a sentence for each record that could not be read, to be said at the top.
        live: a stamp of the records' state; the page then asks its server for news. None: the page asks nobody.

    Raises:
        DamagedFile: a path names no record.
        InadmissibleValue: no record, or more than colours and line styles tell apart.
    """
    given = [records] if isinstance(records, Record | str | Path) else records
    runs = line_up([opened(record) for record in given])
    line = Timeline(runs)
    first = losses.picture(runs, line)  # of several runs the table is the key
    sections = _sections(runs, line)
    pictures = [picture for section in sections for picture in section.pictures]
    alone = runs[0].record.header.task if len(runs) == 1 else f"{len(runs)} runs"
    return compose(
        asset("template.html.jinja"),
        [*([first] if first is not None else []), *pictures],
        live=live,
        title=title or alone or "A run",
        runs=runs,
        several=len(runs) > 1,
        first=first,
        comparison=compared(runs) if len(runs) > 1 else None,
        headlines=[(*STATES[run.headline.state], run.headline) for run in runs],
        states=STATES,
        summaries=[summarize(run) for run in runs],
        unseen=[why_unseen(run) for run in runs if first is None and run.record.entries],
        unreadable=unreadable[:MOST_UNREADABLE],
        more_unreadable=max(len(unreadable) - MOST_UNREADABLE, 0),
        sections=sections,
        scalings=[table for table in map(scaling, runs) if table is not None],
    )


def _sections(runs: Sequence[RecordedRun], line: Timeline) -> list[Section]:
    ours = any(run.record.header.watched is None for run in runs)
    planned: list[tuple[str, str, list[Picture | None], str]] = [
        ("chosen", "What was chosen, and why", [forks.picture(runs)], "Nothing was decided on the way."),
        ("metric", "Metric", [losses.metric(runs, line)], ""),
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


def _keyed(picture: Picture, runs: Sequence[RecordedRun]) -> Picture:
    """The picture with the runs in front of its key, where there are several."""
    if len(runs) == 1:
        return picture
    marks: Any = {"solid": "line", "dotdash": "dotdash", "dashed": "dashed", "dotted": "dotted"}
    drawn = {renderer.name for panel in picture.panels for renderer in panel.figure.renderers}
    named = tuple(Key(marks[run.dash()], run.role("ink"), run.name) for run in runs if run.name in drawn)
    return replace(picture, keys=(*named, *picture.keys))
