"""How far a watched loop has come: steps, and its work in gradients of one sample."""

from __future__ import annotations

from typing import Any

from thetadot.monitor.restoring import restore


class Progress:
    """Counts steps and work; steps that are not measured are taken to have the usual batch.

    Args:
        step: of a record that is continued, else 0.
        ranks: that train one model together.
    """

    def __init__(self, step: int, ranks: int) -> None:
        self.step = self.begun = step
        self.ranks = ranks
        self.work = 0.0
        self.batch: int | None = None  # of the last measured step
        self.told: int | None = None  # by the user
        self.usual = 0
        self._counted = step

    @property
    def first(self) -> bool:
        """Whether this is the first step that is seen."""
        return self.step == self.begun + 1

    def add(self, batch: int) -> None:
        """Count the step that was just made, of so many samples."""
        self.work += batch
        self._counted = self.step

    def count(self, unread: int = 0) -> None:
        """The work of the steps since the last count but the last ``unread``."""
        steps = self.step - unread - self._counted
        self._counted += steps
        self.work += steps * self.usual

    def read(self, sizes: list[int], dataset_size: int | None) -> None:
        """Count a measured step by the sizes of its passes."""
        batch = (sum(sizes) if self.told is None else self.told) * self.ranks or None
        # the last batch of an epoch may be smaller, and may be the one that is always read
        if not (self.usual and dataset_size and batch == dataset_size % self.usual):
            self.usual = max(self.batch or 0, batch or 0)
        self.batch = batch
        self.count(unread=1)
        self.add(batch or 0)

    def rewind(self, step: int) -> None:
        """Go on from an earlier step; the work stays done."""
        self.step = self._counted = step

    def state_dict(self) -> dict[str, Any]:
        """Return what was counted."""
        return dict(vars(self))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what was counted."""
        restore(self, state)
