"""Scenes found by their names, and simulations that go on where they were interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from thetadot.core.formatting import nearest
from thetadot.core.signatures import checked
from thetadot.errors import InadmissibleValue
from thetadot.scenes import custom, storage
from thetadot.scenes.catalogue import SCENES
from thetadot.scenes.experiment import Experiment, continued
from thetadot.scenes.request import check, values_of
from thetadot.training.spec import is_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from thetadot.scenes.result import Result
    from thetadot.scenes.scene import Scene


def find(name: str, given: Mapping[str, Any]) -> Scene:
    """Return the scene of a name, or of ``file.py:function``.

    Args:
        name: of the scene.
        given: arguments of the function, if it is one; the others take theirs when they are called.

    Raises:
        InadmissibleValue: no such name.
        TaskError: no such file, or a function that fails.
    """
    if name in SCENES:
        return SCENES[name]
    if not is_file(name):
        raise InadmissibleValue(
            f"{name!r} is unknown{nearest(name, SCENES)} Pass one of {', '.join(SCENES)}; or file.py:function."
        )
    return custom.scene(name, given)


@checked
def resume(out: Path, *, progress: bool = False, notify: Callable[[str], object] | None = None) -> Result:
    """Continue the simulation in a folder exactly where it was interrupted; one that is complete is drawn anew.

    Args:
        out: the folder.
        progress: whether to show a bar.
        notify: told in a sentence what happens on the way.

    Raises:
        DamagedFile: the folder holds no simulation, or one that cannot be read.
        InadmissibleValue: the simulation is of a motion that has no name: resume it by ``run(out=..., resume=True)``.
        RunFolderError: the folder is in use, or cannot be written.

    Example:
        >>> import pathlib, tempfile, thetadot
        >>> place = pathlib.Path(tempfile.mkdtemp()) / "run"
        >>> first = thetadot.scenes.harmonic(paths=20).run(out=place)
        >>> again = thetadot.scenes.resume(place)
        >>> bool((again.trajectory.states == first.trajectory.states).all())
        True
    """
    place = Path(out)
    record = storage.read(place)
    asked = record.asked
    heat = {"temperature": asked.temperature, "friction": asked.friction}
    scene = find(asked.scene, {**asked.values, **{name: value for name, value in heat.items() if value is not None}})
    check(asked)
    if not scene.own:
        values_of(scene, asked.values)
    return continued(Experiment(scene, asked), place, record, progress=progress, notify=notify)
