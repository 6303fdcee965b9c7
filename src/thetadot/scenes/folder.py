"""What is written of a simulation: on the way, where it is interrupted, and at its end."""

from __future__ import annotations

import math
import shlex
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
import torch

from thetadot.core.files import place_text
from thetadot.errors import RunFolderError
from thetadot.scenes import storage
from thetadot.scenes.files import PAGE
from thetadot.scenes.page import page
from thetadot.scenes.storage import Line
from thetadot.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import Any

    from thetadot.scenes.ensemble import Ensemble
    from thetadot.scenes.rows import SceneRow
    from thetadot.scenes.scene import Scene
    from thetadot.scenes.storage import Request
    from thetadot.simulation import Trajectory


@dataclass
class Folder:
    """A simulation's folder, while it is simulated.

    Args:
        path: of the folder.
        scene: what is simulated.
        request: its settings.
        ensemble: the scene set up.
        started: when, by ``time.perf_counter``, as if it had never been interrupted.
        notify: is told in a sentence what could not be written.
    """

    path: Path
    scene: Scene
    request: Request
    ensemble: Ensemble
    started: float
    notify: Callable[[str], object]
    _failed: bool = field(default=False, init=False)

    @property
    def seconds(self) -> float:
        """The time that it took so far."""
        return time.perf_counter() - self.started

    def keep(self, last: Trajectory) -> None:
        """Write what there is; where that fails it is said once, and the simulation continues."""
        if self._failed:
            return
        try:
            write(self.request, self.path, last, None, self.seconds)
        except RunFolderError as error:
            self._failed = True
            self.notify(f"on the way, {error}")

    def interrupted(self, last: Trajectory | None, notify: Callable[[str], object]) -> None:
        """Keep what there is, say how to resume, and draw it; arrays first, for whoever interrupts once more."""
        if last is None:
            notify(f"interrupted before the first step; {self.path} is as it was")
            return
        seconds = self.seconds
        write(self.request, self.path, last, None, seconds)
        at = f"at time {last.end.time:.6g} of {self.request.time:.6g}"
        notify(
            f"interrupted {at}; {self.path / PAGE} shows what was simulated; resume exactly here with:  "
            f"thetadot simulate --resume {shlex.quote(str(self.path))}"
        )
        draw_page(self.scene, self.request, self.ensemble, self.path, last, None, seconds)


def write(
    request: Request, folder: Path, trajectory: Trajectory, rows: Sequence[SceneRow] | None, seconds: float
) -> None:
    """Write the record and the arrays; without rows, those of a simulation that goes on."""
    record = storage.Simulation(
        storage.SCHEMA,
        storage.VERSION,
        request,
        rows is not None,
        trajectory.end.steps,
        trajectory.engine,
        [line_of(row) for row in rows or ()],
        round(seconds, 3),
        {"thetadot": __version__, "torch": str(torch.__version__)},
    )
    storage.write(folder, record, trajectory)


def draw_page(
    scene: Scene,
    request: Request,
    ensemble: Ensemble,
    folder: Path,
    trajectory: Trajectory,
    rows: Sequence[SceneRow] | None,
    seconds: float,
) -> None:
    """Write the page, of a whole simulation if there is a table, else of one that was interrupted."""
    resume = shlex.quote(str(folder)) if rows is None else None
    text = page(scene, request, ensemble, trajectory, rows or (), seconds=seconds, resume=resume)
    try:
        place_text(folder / PAGE, text)
    except OSError as error:
        raise RunFolderError(
            f"{folder / PAGE} cannot be written ({error.strerror or error}); what was simulated is kept. "
            f"Make room, and draw it with: thetadot simulate --resume {shlex.quote(str(folder))}"
        ) from error


def line_of(row: SceneRow) -> Line:
    """Return a row as it is kept: what is not finite is no number."""

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


def to_dict(request: Request, rows: Sequence[SceneRow]) -> dict[str, Any]:
    """Return the settings and the table in plain containers."""
    return {"asked": msgspec.to_builtins(request), "rows": [msgspec.to_builtins(line_of(row)) for row in rows]}
