"""An experiment: a scene with its settings, which can be run, written, and resumed where it was interrupted."""

from __future__ import annotations

import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from thetadot.core.files import Claim
from thetadot.core.signatures import checked
from thetadot.errors import InadmissibleValue, RunFolderError, ThetadotError, require
from thetadot.integrators.adaptive import Embedded, require_timed
from thetadot.scenes import folder as folders
from thetadot.scenes import storage
from thetadot.scenes.ensemble import Ensemble
from thetadot.scenes.files import RECORD
from thetadot.scenes.folder import Folder
from thetadot.scenes.integrators import require_steps, rule
from thetadot.scenes.request import fitting
from thetadot.scenes.result import Result
from thetadot.scenes.scene import SceneSettings
from thetadot.scenes.storage import described
from thetadot.scenes.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable

    from thetadot.scenes.scene import Scene
    from thetadot.scenes.storage import Request, Simulation
    from thetadot.simulation import Trajectory


@dataclass(frozen=True, repr=False)
class Experiment:
    """A scene and its settings.

    Attributes:
        scene: what is simulated.
        request: every setting, defaults filled in.

    Example:
        >>> import thetadot
        >>> experiment = thetadot.scenes.harmonic(paths=500, time=10.0, friction=1.0)
        >>> experiment.run().table.agrees
        True
    """

    scene: Scene
    request: Request

    def __repr__(self) -> str:
        return described(self.request)

    @checked
    def run(
        self,
        *,
        out: Path | None = None,
        overwrite: bool = False,
        resume: bool = False,
        progress: bool = False,
        notify: Callable[[str], object] | None = None,
    ) -> Result:
        """Simulate, and measure what is known.

        Interrupted by KeyboardInterrupt, a run with a folder writes what there is, with a page that says so.

        Args:
            out: folder to write to: record, arrays, page. It is also written on the way, so that a run that was killed
                can be resumed.
            overwrite: whether to replace the simulation that the folder holds.
            resume: whether to continue what the folder holds, if it holds one of these settings; bit for bit what it
                would have been without the interruption.
            progress: whether to show a bar.
            notify: told in a sentence what happens on the way; ``warnings.warn`` where it is None.

        Raises:
            InadmissibleValue: settings that the scene does not take.
            RunFolderError: the folder holds something else, is in use, or cannot be written.
            DamagedFile: what is to be resumed cannot be read.
            ThetadotError: a path runs off to infinity, or what is known is out of range at these settings.
        """
        if out is None:
            require(not (overwrite or resume), "out=None", "leaves nothing to overwrite or resume", "Pass out=folder.")
            return _run(self, self._prepared(), None, progress=progress, notify=notify)
        place = Path(out)
        if resume and (place / RECORD).is_file():
            record = storage.read(place)
            if record.asked != self.request:
                raise InadmissibleValue(
                    f"{place} was begun with other settings ({_first_difference(record.asked, self.request)}). "
                    "Pass those, or name another folder."
                )
            return continued(self, place, record, progress=progress, notify=notify)
        ensemble = self._prepared()
        with storage.claim_folder(place, overwrite=overwrite):
            return _run(self, ensemble, place, progress=progress, notify=notify)

    def _prepared(self) -> Ensemble:
        """The scene set up."""
        asked = self.request
        chosen = rule(asked.integrator, self.scene.rule, asked.tolerance)
        require_steps(chosen, asked.step)
        settings = SceneSettings(
            asked.paths,
            asked.time,
            asked.step,
            chosen,
            asked.temperature,
            asked.friction,
            asked.key,
            asked.values,
        )
        ensemble = Ensemble(self.scene.make(settings), settings, chosen, asked.frames)
        if isinstance(chosen, Embedded):
            require_timed(chosen, ensemble.system)
        return ensemble


def continued(
    experiment: Experiment, place: Path, record: Simulation, *, progress: bool, notify: Callable[[str], object] | None
) -> Result:
    """Go on with what a folder holds."""
    ensemble = experiment._prepared()  # noqa: SLF001
    with Claim(place):
        begun = storage.load_trajectory(place, record, ensemble.shapes, ensemble.places, expected=ensemble.bytes)
        if record.complete and notify is not None:
            notify(f"{place} is complete; its page is drawn anew")
        return _run(experiment, ensemble, place, begun, record.seconds, progress=progress, notify=notify)


def _run(
    experiment: Experiment,
    ensemble: Ensemble,
    place: Path | None,
    begun: Trajectory | None = None,
    before: float = 0.0,
    *,
    progress: bool,
    notify: Callable[[str], object] | None,
) -> Result:
    """Simulate on from what was begun, which took ``before`` seconds."""
    tempfile.gettempdir()  # torch needs one, and where it finds none what it says is of something else
    started, tell = time.perf_counter() - before, notify or warnings.warn
    folder = None
    if place is not None:
        folder = Folder(place, experiment.scene, experiment.request, ensemble, started, tell)
    trajectory: Trajectory | None = None
    try:
        with fitting():
            trajectory = ensemble.run(
                begun,
                begun.engine if begun is not None else "",
                progress=progress,
                keep=None if folder is None else folder.keep,
            )
        rows = ensemble.rows(trajectory)
    except ArithmeticError as error:
        if trajectory is None or isinstance(error, ThetadotError):
            raise
        raise _out_of_range(error, trajectory, folder) from error
    except KeyboardInterrupt as interrupt:
        if folder is not None:
            last = trajectory if trajectory is not None else getattr(interrupt, "last", None)
            folder.interrupted(last, notify or interrupt.add_note)
        raise
    seconds, table, unwritten = time.perf_counter() - started, Table(rows), None
    if folder is not None:
        unwritten = _write_folder(folder, trajectory, table, seconds)
        if unwritten is not None and notify is None:
            warnings.warn(unwritten, stacklevel=4)
    return Result(
        experiment.scene, experiment.request, table, trajectory, seconds, place, unwritten, _ensemble=ensemble
    )


def _write_folder(folder: Folder, trajectory: Trajectory, table: Table, seconds: float) -> str | None:
    """Write record, arrays and page; why they are not whole: the table is of a whole simulation all the same."""
    try:
        folders.write(folder.request, folder.path, trajectory, table, seconds)
        folders.draw_page(folder.scene, folder.request, folder.ensemble, folder.path, trajectory, table, seconds)
    except RunFolderError as error:
        return str(error)
    return None


def _out_of_range(error: ArithmeticError, trajectory: Trajectory, folder: Folder | None) -> ThetadotError:
    kept = ""
    if folder is not None:
        folders.write(folder.request, folder.path, trajectory, None, folder.seconds)
        kept = f"; what was simulated is kept in {folder.path}"
    return ThetadotError(
        f"the expected values at these settings are out of range ({error.args[-1] if error.args else error}){kept}. "
        "Pass values nearer to 1."
    )


def _first_difference(one: Request, other: Request) -> str:
    """The first setting that differs, as it was begun and as it is asked."""
    for name in one.__struct_fields__:
        before, now = getattr(one, name), getattr(other, name)
        if before != now:
            return f"{name} {before!r}, not {now!r}"
    return "none"
