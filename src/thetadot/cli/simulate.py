"""``thetadot simulate``: a named motion, or one of one's own, as an ensemble; its table, its page, its arrays."""

from __future__ import annotations

import json
import math
import shlex
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thetadot.errors import RunFolderError, ThetadotError
from thetadot.scenes.request import FRAMES, asked_of, check, is_own, journey_of, scene_of, spoken_of, values_of
from thetadot.version import __version__

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from thetadot.scenes import Row, Scene
    from thetadot.scenes.ensemble import Journey
    from thetadot.scenes.storage import Asked
    from thetadot.simulation import Trajectory

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

_OPTIONS = ("paths", "time", "step", "tolerance", "temperature", "friction", "integrator", "seed", "save", "set")


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
    if options.resume is not None:
        return _resume(options)
    if options.name is None:
        raise ThetadotError(
            "nothing to simulate was named. Pass a name (thetadot simulate --list) or file.py:function."
        )
    from thetadot.scenes import storage
    from thetadot.training.folder import fresh

    scene, asked = asked_of(options)
    folder = Path(options.out) if options.out else fresh(options.name.rpartition(":")[2])
    journey = journey_of(scene, asked)
    with storage.claim(folder, overwrite=options.overwrite):
        return _run(scene, asked, journey, folder, None, 0.0, options)


def _resume(options: argparse.Namespace) -> int:
    """Go on with what a folder holds."""
    from types import SimpleNamespace

    from thetadot.files import Claim
    from thetadot.scenes import storage

    changed = [name for name in _OPTIONS if getattr(options, name) not in (None, [])]
    if changed or options.name is not None or options.out is not None or options.overwrite:
        what = f"--{changed[0]}" if changed else "a name, --out or --overwrite"
        raise ThetadotError(f"{what} contradicts --resume, which continues with the original settings. Leave it out.")
    folder = Path(options.resume)
    record = storage.read(folder)
    asked = record.asked
    scene = scene_of(asked.scene, asked.values, SimpleNamespace(temperature=asked.temperature, friction=asked.friction))
    check(asked)
    if not is_own(asked.scene):
        values_of(scene, asked.values)
    journey = journey_of(scene, asked)
    with Claim(folder):
        begun = storage.load(folder, record, _shapes(journey), journey.places, expected=_bytes(journey))
        if record.complete:
            print(f"thetadot: {folder} is complete; its page is drawn anew", file=sys.stderr)
        return _run(scene, asked, journey, folder, begun, record.seconds, options)


def _shapes(journey: Journey) -> dict[str, Any]:
    """Return the shapes of the per-path variables."""
    import torch

    initial = journey.setup.initial
    position = initial if isinstance(initial, torch.Tensor) else initial["position"]
    shape = torch.Size((journey.settings.paths, torch.as_tensor(position).shape[-1]))
    system = journey.system
    return {name: shape for name in ("position", *system.variables) if name not in system.scalars}


def _bytes(journey: Journey) -> int:
    """At most so many are in the arrays of a simulation."""
    state: int = sum(shape.numel() for shape in _shapes(journey).values()) * 8
    entries = sum(map(len, journey.places.values()))
    return state * (journey.frames + 2) + entries * (1 << 16) + (1 << 20)


def _run(
    scene: Scene,
    asked: Asked,
    journey: Journey,
    folder: Path,
    begun: Trajectory | None,
    before: float,
    options: argparse.Namespace,
) -> int:
    """Simulate on from what was begun, which took ``before`` seconds."""
    tempfile.gettempdir()  # torch needs one, and where it finds none what it says is of something else
    started = time.perf_counter() - before
    trajectory: Trajectory | None = None
    try:
        with spoken_of():
            trajectory = journey.run(
                begun,
                begun.engine if begun is not None else "",
                progress=sys.stderr.isatty(),
                keep=_keeper(asked, folder, started),
            )
        rows = journey.rows(trajectory)
    except ArithmeticError as error:
        if trajectory is None or isinstance(error, ThetadotError):
            raise
        _write(asked, folder, trajectory, None, time.perf_counter() - started)
        raise ThetadotError(
            f"the expected values at these settings are out of range ({error.args[-1] if error.args else error}); what "
            f"was simulated is kept in {folder}. Pass values nearer to 1."
        ) from error
    except KeyboardInterrupt as interrupt:
        last = trajectory if trajectory is not None else getattr(interrupt, "last", None)
        _interrupted(scene, asked, journey, folder, last, time.perf_counter() - started)
        raise
    seconds = time.perf_counter() - started
    failed: RunFolderError | None = None
    try:
        _write(asked, folder, trajectory, rows, seconds)
        _draw(scene, asked, journey, folder, trajectory, rows, seconds)
    except RunFolderError as error:  # the table is of a whole simulation all the same
        failed = error
    _show(scene, asked, rows, folder, as_json=options.json, drawn=failed is None)
    if failed is not None:
        raise failed
    return 0


def _keeper(asked: Asked, folder: Path, started: float) -> Callable[[Trajectory], None]:
    """Writes what there is; where that fails it is reported once, and the simulation continues."""
    failed: list[RunFolderError] = []

    def keep(last: Trajectory) -> None:
        if failed:
            return
        try:
            _write(asked, folder, last, None, time.perf_counter() - started)
        except RunFolderError as error:
            failed.append(error)
            print(f"thetadot: on the way, {error}", file=sys.stderr)

    return keep


def _interrupted(
    scene: Scene, asked: Asked, journey: Journey, folder: Path, last: Trajectory | None, seconds: float
) -> None:
    """Keep what there is, say how to resume, and draw it; arrays first, for whoever interrupts once more."""
    if last is None:
        print(f"\nthetadot: interrupted before the first step; {folder} is as it was", file=sys.stderr)
        return
    _write(asked, folder, last, None, seconds)
    at = f"at time {last.end.time:.6g} of {asked.time:.6g}"
    print(
        f"\nthetadot: interrupted {at}; {folder / 'report.html'} shows what was simulated; resume exactly here with:  "
        f"thetadot simulate --resume {shlex.quote(str(folder))}",
        file=sys.stderr,
    )
    _draw(scene, asked, journey, folder, last, None, seconds)


def _draw(
    scene: Scene,
    asked: Asked,
    journey: Journey,
    folder: Path,
    trajectory: Trajectory,
    rows: Sequence[Row] | None,
    seconds: float,
) -> None:
    """Write the page, of a whole simulation if there is a table, else of one that was interrupted."""
    from thetadot.files import place_text
    from thetadot.scenes.files import PAGE
    from thetadot.scenes.page import page

    resume = shlex.quote(str(folder)) if rows is None else None
    text = page(scene, asked, journey, trajectory, rows or (), seconds=seconds, resume=resume)
    try:
        place_text(folder / PAGE, text)
    except OSError as error:
        raise RunFolderError(
            f"{folder / PAGE} cannot be written ({error.strerror or error}); what was simulated is kept. "
            f"Make room, and draw it with: thetadot simulate --resume {shlex.quote(str(folder))}"
        ) from error


def _write(asked: Asked, folder: Path, trajectory: Trajectory, rows: Sequence[Row] | None, seconds: float) -> None:
    import torch

    from thetadot.scenes import storage

    record = storage.Simulation(
        storage.SCHEMA,
        storage.VERSION,
        asked,
        rows is not None,
        trajectory.end.steps,
        trajectory.engine,
        [_line(row) for row in rows or ()],
        round(seconds, 3),
        {"thetadot": __version__, "torch": str(torch.__version__)},
    )
    storage.write(folder, record, trajectory)


def _line(row: Row) -> Any:
    from thetadot.scenes.storage import Line

    def finite(value: float | None) -> float | None:
        return value if value is not None and math.isfinite(value) else None

    return Line(
        row.quantity,
        finite(row.measured),
        finite(row.expected),
        row.error,
        row.tolerance,
        row.agrees,
        row.source,
        row.remark,
        row.reference,
    )


def _show(scene: Scene, asked: Asked, rows: Sequence[Row], folder: Path, *, as_json: bool, drawn: bool) -> None:
    """The table on standard output."""
    if as_json:
        import msgspec

        lines = [msgspec.to_builtins(_line(row)) for row in rows]
        print(json.dumps({"asked": msgspec.to_builtins(asked), "rows": lines, "out": str(folder)}))
        return
    from rich.markup import escape
    from rich.table import Table

    from thetadot.scenes.page import verdict, words
    from thetadot.terminal import console

    out = console(sys.stdout)
    fine = f"step {asked.step:g}" if asked.step is not None else "steps by their error"
    table = Table(
        title=escape(f"{scene.title}: {asked.paths:,} paths, time {asked.time:g}, {fine}"), title_justify="left"
    )
    for name in ("quantity", "measured", "expected", "agrees", "where that is from"):
        table.add_column(name, style="cyan" if name == "quantity" else None, overflow="fold")
    styles = {"yes": "green", "no": "bold red", "–": "dim"}
    for row in map(words, rows):
        table.add_row(
            escape(row.quantity),
            row.measured,
            row.expected,
            f"[{styles[row.agrees]}]{row.agrees}[/]",
            escape(row.source),
        )
    out.print(table)
    out.print(escape(verdict(rows)[0]))
    if drawn:
        out.print(f"look at {escape(str(folder / 'report.html'))}")


def _list(*, as_json: bool) -> None:
    from thetadot.scenes import SCENES
    from thetadot.scenes.names import ADAPTIVE, PLAIN
    from thetadot.terminal import console

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
