"""The page: pictures, words and numbers of a record set into one self-contained HTML text."""

from __future__ import annotations

import base64
import hashlib
import os
import shlex
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from thetadot.records import Choice, Rollback, read
from thetadot.report import words
from thetadot.report.embed import embed, script
from thetadot.report.figures import curvature, losses, noise, portrait, settings, trials
from thetadot.report.figures.frame import Timeline
from thetadot.report.numerals import plain
from thetadot.report.palette import DARK, LIGHT, RAMP
from thetadot.report.tiles import SOURCES, facts, tiles

if TYPE_CHECKING:
    from thetadot.records import Record
    from thetadot.report.figures.picture import Picture

MOST_DAMAGE = 20
MOST_ROWS = 200


@dataclass(frozen=True)
class Section:
    """One part of the page: its pictures, or what to say when the record has none."""

    name: str
    title: str
    pictures: tuple[Picture, ...]
    silent: str


def render(record: Record, title: str | None = None) -> str:
    """The page of a run, finished or not.

    Args:
        record: what :func:`thetadot.records.read` returned.
        title: heading of the page; the task's name where it is None.
    """
    sections = _sections(record)
    pictures = [picture for section in sections for picture in section.pictures]
    panels = [panel for picture in pictures for panel in picture.panels]
    document, roots = embed([panel.figure for panel in panels])
    scripts = (script(), _asset("theme.js"))
    header = record.header
    return _template().render(
        title=title or header.task or "A run",
        record=record,
        verdict=words.verdict(record),
        state="unfinished" if record.result is None else "diverged" if record.result.diverged else "finished",
        tiles=tiles(record),
        facts=facts(header),
        choices=[(c, _value(c), SOURCES[c.source]) for c in record.of(Choice)[:MOST_ROWS]],
        rollbacks=[_rollback(entry) for entry in record.of(Rollback)[:MOST_ROWS]],
        damage=record.damage[:MOST_DAMAGE],
        more_damage=max(len(record.damage) - MOST_DAMAGE, 0),
        sections=sections,
        root_of={id(panel): root for panel, root in zip(panels, roots, strict=True)},
        key=id,
        document=document,
        scripts=scripts,
        policy=_policy(scripts),
        style=_asset("style.css"),
        light=LIGHT,
        dark=DARK,
        ramp=RAMP,
        command=f"thetadot run {shlex.quote(header.task)} --seed {header.seed if abs(header.seed) < 10**20 else '…'}",
        given=[c.setting for c in record.of(Choice) if c.source == "given"],
    )


def write(run_folder_or_record_path: str | Path, out: str | Path | None = None) -> Path:
    """Write the page of a run, beside its record where ``out`` is None, and return where it is.

    Readers never see half a page: it is written beside its place and moved there.

    Raises:
        DamagedFile: this is not the record of a run.
        OSError: the page cannot be written.
    """
    record = read(run_folder_or_record_path)
    place = Path(out) if out is not None else (record.path or Path(run_folder_or_record_path)).parent / "report.html"
    page = render(record).encode("utf-8", "replace")
    handle, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(page)
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)  # mkstemp's own mode would hide the page from a group
        os.replace(name, place)  # noqa: PTH105 - one atomic call
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
    return place


def _sections(record: Record) -> list[Section]:
    line = Timeline(record)
    planned: list[tuple[str, str, list[Picture | None], str]] = [
        ("chosen", "What was chosen, and why", [trials.picture(record)], "No trials are recorded."),
        ("loss", "Loss along the run", [losses.picture(record, line)], "No steps and no epochs are recorded yet."),
        ("settings", "Settings and what they mean", [settings.picture(record, line)], "No steps are recorded yet."),
        (
            "curvature",
            "Curvature and stability",
            [curvature.picture(record, line)],
            "No upward curvature was measured.",
        ),
        (
            "noise",
            "Noise and temperature",
            [noise.scale(record, line), noise.cooling(record, line)],
            "The noise was not measured.",
        ),
        ("portrait", "The run as a path", [portrait.picture(record)], "The way of the motion is not recorded."),
    ]
    return [
        Section(name, title, tuple(p for p in drawn if p is not None), silent) for name, title, drawn, silent in planned
    ]


def _value(choice: Choice) -> str:
    return choice.value if isinstance(choice.value, str) else plain(choice.value)


def _rollback(entry: Rollback) -> tuple[str, str, str, str]:
    return plain(entry.step), plain(entry.back_to), plain(entry.lr_factor), entry.because


def _asset(name: str) -> str:
    # a page has line ends of one kind: the browser's hash of a script is of the text after it has unified them
    return (files("thetadot.report") / name).read_text(encoding="utf-8").replace("\r\n", "\n")


def _template() -> jinja2.Template:
    environment: Any = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template: jinja2.Template = environment.from_string(_asset("template.html.jinja"))
    return template


def _policy(scripts: tuple[str, ...]) -> str:
    """The browser runs these scripts and no other, and fetches nothing."""
    hashes = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
