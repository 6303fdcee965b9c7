"""What ``thetadot simulate`` does."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from thetadot.core.terminal import console
from thetadot.errors import InadmissibleValue, RunFolderError, ThetadotError
from thetadot.scenes import resume
from thetadot.scenes.experiment import Experiment
from thetadot.scenes.request import request_of
from thetadot.scenes.resuming import find
from thetadot.scenes.spelling import COMMON, as_options
from thetadot.scenes.table import COLUMNS, row_in_words
from thetadot.training.folder import fresh

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from thetadot.scenes import Result


def act(options: argparse.Namespace) -> int:
    """Simulate, write, and print."""
    with as_options():
        result = _resumed(options) if options.resume is not None else _simulated(options)
    _show(result, as_json=options.json)
    if result.unwritten is not None:
        raise RunFolderError(result.unwritten)
    return 0


def _simulated(options: argparse.Namespace) -> Result:
    """Simulate what was named, in a folder of its own."""
    if options.name is None:
        raise ThetadotError(
            "nothing to simulate was named. Pass a name (thetadot simulate --list) or file.py:function."
        )
    values, given = _values(options.set), {name: getattr(options, name) for name in COMMON}
    heat = {name: given[name] for name in ("temperature", "friction") if given[name] is not None}
    scene = find(options.name, {**values, **heat})
    experiment = Experiment(scene, request_of(scene, given, values))
    out = Path(options.out) if options.out else fresh(options.name.rpartition(":")[2])
    return experiment.run(out=out, overwrite=options.overwrite, progress=sys.stderr.isatty(), notify=_tell)


def _resumed(options: argparse.Namespace) -> Result:
    """Go on with what a folder holds."""
    changed = [name for name in (*COMMON, "set") if getattr(options, name) not in (None, [])]
    if changed or options.name is not None or options.out is not None or options.overwrite:
        what = f"--{changed[0]}" if changed else "a name, --out or --overwrite"
        raise ThetadotError(f"{what} contradicts --resume, which continues with the original settings. Leave it out.")
    return resume(Path(options.resume), progress=sys.stderr.isatty(), notify=_tell)


def _tell(sentence: str) -> None:
    """Say what happens on the way; the terminal's own line of an interrupt is left first."""
    first = "\n" if sentence.startswith("interrupted") else ""
    print(f"{first}thetadot: {sentence}", file=sys.stderr)


def _values(pairs: Sequence[str]) -> dict[str, float | int | str]:
    """Parse the values of ``--set``, numbers as numbers."""
    found: dict[str, float | int | str] = {}
    for pair in pairs:
        name, separator, text = pair.partition("=")
        if not separator or not name.isidentifier():
            raise InadmissibleValue(f"--set {pair!r} is not NAME=VALUE. Pass for instance --set barrier=0.5.")
        if name in found:
            raise InadmissibleValue(f"--set {name} was given twice. Pass it once.")
        found[name] = _number_or_text(text)
    return found


def _number_or_text(text: str) -> float | int | str:
    for kind in (int, float):
        try:
            return kind(text) if len(text) < 40 else text
        except ValueError:
            continue
    return text


def _show(result: Result, *, as_json: bool) -> None:
    """The table on standard output."""
    if as_json:
        print(json.dumps({**result.to_dict(), "out": str(result.out)}))
        return

    out, asked = console(sys.stdout), result.request
    fine = f"step {asked.step:g}" if asked.step is not None else "steps by their error"
    title = f"{result.scene.title}: {asked.paths:,} paths, time {asked.time:g}, {fine}"
    table = Table(title=escape(title), title_justify="left")
    for name in COLUMNS:
        table.add_column(name, style="cyan" if name == "quantity" else None, overflow="fold")
    styles = {"yes": "green", "no": "bold red", "–": "dim"}
    for row in map(row_in_words, result.table):
        table.add_row(
            escape(row.quantity),
            row.measured,
            row.expected,
            f"[{styles[row.agrees]}]{row.agrees}[/]",
            escape(row.source),
        )
    out.print(table)
    out.print(escape(result.table.verdict))
    if result.unwritten is None:
        out.print(f"look at {escape(str(Path(str(result.out)) / 'report.html'))}")
