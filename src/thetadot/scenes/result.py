"""The result of an experiment: its table, its pictures, its arrays, and the folder that they are written to."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from thetadot.core.signatures import checked
from thetadot.errors import InadmissibleValue
from thetadot.scenes import folder, storage
from thetadot.scenes.figures import layout_of
from thetadot.scenes.files import PAGE
from thetadot.scenes.page import page, pictures
from thetadot.scenes.storage import described

if TYPE_CHECKING:
    from thetadot.report.figures.picture import Picture
    from thetadot.scenes.ensemble import Ensemble
    from thetadot.scenes.scene import Scene
    from thetadot.scenes.storage import Request
    from thetadot.scenes.table import Table
    from thetadot.simulation import Trajectory


@checked
@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """A simulation that has ended, beside what is known of it.

    Attributes:
        scene: what was simulated.
        request: its settings.
        table: rows of measured against known.
        trajectory: times, states (n, paths, dim) and statistics (:class:`thetadot.simulation.Trajectory`).
        seconds: that it took.
        out: the folder that it was written to; None if to none.
        unwritten: why that folder is not whole; None where it is.

    Example:
        >>> import thetadot
        >>> result = thetadot.scenes.dirac_gan(time=5.0).run()
        >>> result.table["largest change of r²"].agrees
        True
        >>> [picture.name for picture in result.pictures]
        ['phase', 'radius']
        >>> result.trajectory.states.shape
        torch.Size([41, 12, 1])
    """

    scene: Scene
    request: Request
    table: Table
    trajectory: Trajectory
    seconds: float
    out: Path | None = None
    unwritten: str | None = None
    _ensemble: Ensemble = field(kw_only=True)

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """The pictures: those of the scene first, then those that every simulation has."""
        with np.errstate(over="ignore"):  # pictures are of float32, and paths may have run beyond it
            return tuple(pictures(self._ensemble, self.trajectory))

    def plot(self, *names: str) -> Any:
        """Return the pictures as a bokeh layout, for ``bokeh.io.show`` or a notebook.

        Args:
            *names: of the pictures wanted (``[picture.name for picture in result.pictures]``); all where none is given.

        Raises:
            InadmissibleValue: no picture of that name.
        """
        found = {picture.name: picture for picture in self.pictures}
        for name in names:
            if name not in found:
                raise InadmissibleValue(f"{name!r} is no picture of this result. Pass one of {', '.join(found)}.")
        return layout_of([found[name] for name in names or found])

    def page(self) -> str:
        """Return the page, with table and pictures, as HTML that needs no network."""
        return page(
            self.scene,
            self.request,
            self._ensemble,
            self.trajectory,
            self.table,
            seconds=self.seconds,
            resume=None,
        )

    def write(self, out: Path, *, overwrite: bool = False) -> Path:
        """Write the folder that ``thetadot simulate`` writes: record, arrays and page.

        Args:
            out: of the folder, which is made.
            overwrite: whether to replace the simulation that it holds.

        Returns:
            The page.

        Raises:
            RunFolderError: the folder holds something else, or cannot be written.
        """
        place, rows = Path(out), self.table
        with storage.claim_folder(place, overwrite=overwrite):
            folder.write(self.request, place, self.trajectory, rows, self.seconds)
            folder.draw_page(self.scene, self.request, self._ensemble, place, self.trajectory, rows, self.seconds)
        return place / PAGE

    def to_dict(self) -> dict[str, Any]:
        """Return the settings and the table in plain containers, as JSON takes them."""
        return folder.to_dict(self.request, self.table)

    def __repr__(self) -> str:
        return f"{described(self.request)}\n{self.table!r}"

    def _repr_html_(self) -> str:
        return self.table._repr_html_()
