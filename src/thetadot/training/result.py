"""Result of a run, and how to load it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from thetadot.records import Record
    from thetadot.tasks.task import Loss


@dataclass(frozen=True)
class Result:
    """A trained model with its states and its record.

    Attributes:
        model: with its final parameters.
        best_state: state dict at the lowest validation loss.
        final_state: state dict at the end.
        record: what happened on the way.
        loss: the task's loss, with its final parameters where it is a module that learns.
        unwritten: why the page could not be written, None where it was: all else is kept.
    """

    model: nn.Module
    best_state: dict[str, Any]
    final_state: dict[str, Any]
    record: Record
    loss: Loss
    unwritten: str | None = None
