"""Entries of a record, as they are made, for whatever logs numbers by step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thetadot.records.export import numbered, series

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from thetadot.records.schema import Entry


class LiveSeries:
    """Gathers the numbers of a step, and logs them once the step is over.

    Names are those of :func:`thetadot.records.export`. The loss of every step is left out: it is written in blocks,
    long after the step.

    Args:
        log: called with a dict of finite floats and the step, steps ascending.
        layers: their names.

    Example:
        >>> from thetadot.records import Barrier
        >>> live = LiveSeries(lambda values, step: print(step, values["barrier/height"]))
        >>> live.add(Barrier(9, 2, 0.5, 0.25, 1.0, 0.5, None))
        >>> live.flush()
        9 0.5
    """

    def __init__(self, log: Callable[[dict[str, float], int], object], layers: Sequence[str] = ()) -> None:
        self._log = log
        self._layers = tuple(layers)
        self._step = 0
        self._values: dict[str, float] = {}

    def add(self, entry: Entry) -> None:
        """Take an entry; one of a later step ends the step before it."""
        if not numbered(entry):
            return
        step = getattr(entry, "step", self._step)
        if step != self._step:
            self.flush()
        self._step = step
        self._values.update(series(entry, self._layers))

    def flush(self) -> None:
        """Log what the step has so far."""
        values, self._values = self._values, {}
        if values:
            self._log(values, self._step)
