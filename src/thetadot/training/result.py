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
        model: in the state of the lowest validation loss, ``record.result.valid_loss`` after ``best_epoch``.
        best_state: state dict of that.
        final_state: state dict at the end, of ``record.result.final_valid_loss``.
        record: what happened on the way.
        loss: the task's loss, in the state that belongs to the model's where it is a module.
        unwritten: why the page could not be written, None where it was: all else is kept.
    """

    model: nn.Module
    best_state: dict[str, Any]
    final_state: dict[str, Any]
    record: Record
    loss: Loss
    unwritten: str | None = None
