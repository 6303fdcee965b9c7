"""``thetadot simulate``: a named motion, or one of one's own, as an ensemble; its table, its page, its arrays."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from thetadot.errors import InadmissibleValue, RunFolderError, ThetadotError
from thetadot.scenes.scene import FRAMES
from thetadot.scenes.spelling import COMMON, as_options

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from thetadot.scenes import Result

NAME = "simulate"
HELP = "Simulate an ensemble of a named system or of your own, compare it with what is known, and show it in pictures."
EPILOG = """examples:
  thetadot simulate --list
  thetadot simulate double-well --temperature 0.1 --paths 20000
  thetadot simulate dirac-gan --set kind=non-saturating --set penalty=gp --out runs/gan
  thetadot simulate examples/motions.py:lorenz --time 20

your own: file.py:function, where function(), called with what --set (and --temperature, --friction) gives it, returns
  a Problem(system, potential), an ODE, an SDE or another system with a drift of its own;
  or a tuple (motion, integrator, initial, time, step, paths), or a mapping with such keys

The folder holds report.html, trajectory.npz (times, states, ...) and simulation.json (the table)."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this command."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="a named system (--list) or file.py:function")
    parser.add_argument("--list", action="store_true", help="what there is to simulate, and what --set changes")
    parser.add_argument("--paths", type=int, metavar="N", help="how many paths")
    parser.add_argument("--time", type=float, metavar="T", help="how long; a whole number of steps, if they are fixed")
    parser.add_argument("--step", type=float, metavar="H", help="time step")
    parser.add_argument(
        "--tolerance", type=float, metavar="R", help="relative, of a method that finds its own steps (absolute: R/1000)"
    )
    parser.add_argument("--temperature", type=float, metavar="T", help="heat, in units of the loss")
    parser.add_argument("--friction", type=float, metavar="L", help="of a motion with inertia, in 1/time")
    parser.add_argument("--integrator", metavar="NAME", help="rk4, dormand-prince, ..., or a word such as BAOAB")
    parser.add_argument("--seed", "--key", type=int, metavar="S", help="of all noise (default: 0)")
    parser.add_argument("--save", type=int, metavar="N", help=f"times at which all paths are saved (default: {FRAMES})")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="another parameter")
    parser.add_argument("--out", metavar="DIR", help="folder (default: runs/NAME, or NAME-2, ... if taken)")
    parser.add_argument("--overwrite", action="store_true", help="replace the simulation that the folder holds")
    parser.add_argument("--resume", metavar="DIR", help="resume exactly where the simulation in DIR was interrupted")
    parser.add_argument("--json", action="store_true", help="print the table as one JSON object")


def act(options: argparse.Namespace) -> int:
    """Simulate, write, and print."""
    if options.list:
        _list(as_json=options.json)
        return 0
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
    from thetadot.scenes.experiment import Experiment
    from thetadot.scenes.request import request_of
    from thetadot.scenes.resuming import find
    from thetadot.training.folder import fresh

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
    from thetadot.scenes import resume

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
        found[name] = _number(text)
    return found


def _number(text: str) -> float | int | str:
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
    from rich.markup import escape
    from rich.table import Table

    from thetadot.core.terminal import console
    from thetadot.scenes.table import COLUMNS, words

    out, asked = console(sys.stdout), result.request
    fine = f"step {asked.step:g}" if asked.step is not None else "steps by their error"
    title = f"{result.scene.title}: {asked.paths:,} paths, time {asked.time:g}, {fine}"
    table = Table(title=escape(title), title_justify="left")
    for name in COLUMNS:
        table.add_column(name, style="cyan" if name == "quantity" else None, overflow="fold")
    styles = {"yes": "green", "no": "bold red", "–": "dim"}
    for row in map(words, result.table):
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


def _list(*, as_json: bool) -> None:
    from thetadot.core.terminal import console
    from thetadot.scenes import SCENES
    from thetadot.scenes.names import ADAPTIVE, PLAIN

    if as_json:
        print(
            json.dumps(
                {
                    name: {"says": scene.says, "set": {k: p.default for k, p in scene.parameters.items()}}
                    for name, scene in SCENES.items()
                }
            )
        )
        return
    from rich.markup import escape

    out = console(sys.stdout)
    for name, scene in SCENES.items():
        more = f", temperature {scene.temperature:g}" if scene.temperature is not None else ""
        more += f", friction {scene.friction:g}" if scene.friction is not None else ""
        out.print(f"[bold]{name}[/bold]  {escape(scene.says)}")
        out.print(f"    {scene.paths:,} paths, time {scene.time:g}, step {scene.step:g}, {scene.integrator}{more}")
        for key, parameter in scene.parameters.items():
            out.print(f"    --set [cyan]{key}[/cyan]={escape(str(parameter.default))}  {escape(parameter.meaning)}")
    out.print(f"[bold]integrators[/bold]  {', '.join(PLAIN)}, or a splitting word such as BAOAB;")
    out.print(f"    {', '.join(ADAPTIVE)}, which find their own steps: without noise, --tolerance instead of --step")
