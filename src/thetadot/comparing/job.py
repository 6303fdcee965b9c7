"""One run of a comparison: what is asked for, and what came of it. Both travel to workers and lie in files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from thetadot.comparing.spec import GridPoint
    from thetadot.tasks.task import Task

SCHEMA = "thetadot.comparison.run"
VERSION = 1
Measure = Literal["best", "final", "returned", "test", "final-test", "returned-test"]
MEASURES: dict[Measure, str] = {
    "best": "validation loss, lowest after an epoch",
    "final": "validation loss after the last step",
    "returned": "validation loss of the state that each run returns",
    "test": "test loss of the state with the lowest validation loss",
    "final-test": "test loss after the last step",
    "returned-test": "test loss of the state that each run returns",
}


def untested(by: Measure) -> Measure:
    """Return the loss on validation data of the same state.

    Example:
        >>> untested("test"), untested("final-test"), untested("returned")
        ('best', 'final', 'returned')
    """
    named: dict[Measure, Measure] = {"test": "best", "final-test": "final", "returned-test": "returned"}
    return named.get(by, by)


@dataclass(frozen=True)
class ComparisonJob:
    """A run that is to be done: a function of these fields alone.

    Attributes:
        make: makes the task; a built-in name or ``file.py:function`` where it is text.
        task: what the task is called.
        point: optimizer and settings.
        seed: of parameters, order, dropout.
        epochs: of thetadot's own run.
        budget: gradient evaluations of one sample that the others may make.
        batch_size: where the point has none of its own.
        device: where to train.
        threads: of torch.
    """

    make: str | Callable[[], Task]
    task: str
    point: GridPoint
    seed: int
    epochs: int
    budget: int
    batch_size: int
    device: str = "cpu"
    threads: int = 1


class Outcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What came of a run: its losses, its cost, and why it ended early.

    Attributes:
        point: identity of optimizer and settings.
        label: the same, to be read.
        seed: of the run.
        epochs: of the comparison.
        budget: gradient evaluations that it was given.
        spent: those that it made; of thetadot's own run with measuring and trials.
        steps: of the optimizer.
        best: lowest validation loss after an epoch; None where it diverged.
        final: validation loss after the last step.
        test: test loss of the state with the lowest validation loss, where there are test data.
        final_test: test loss after the last step.
        keeps_best: whether the run gives back its best validated state, as thetadot's does, or its last.
        best_metric: at the lowest validation loss.
        final_metric: after the last step.
        metric: what the metric is called.
        diverged: why it ended early; "" where it did not.
        settings: that thetadot's own run found.
        train: (gradient evaluations, mean training loss up to them since the last).
        valid: (gradient evaluations, validation loss).
        seconds: that it took; nothing is decided by it.
        digest: of all the rest.
    """

    point: str
    label: str
    seed: int
    epochs: int
    budget: int
    spent: int
    steps: int
    best: float | None
    final: float | None
    test: float | None = None
    final_test: float | None = None
    keeps_best: bool = False
    best_metric: float | None = None
    final_metric: float | None = None
    metric: str | None = None
    diverged: str = ""
    settings: dict[str, float | int | str] = {}
    train: list[tuple[float, float]] = []
    valid: list[tuple[float, float]] = []
    seconds: float = 0.0
    schema: str = SCHEMA
    version: int = VERSION
    digest: str = ""

    def score(self, by: Measure) -> float | None:
        """Return the loss that is compared; None where the run diverged."""
        found = {"best": self.best, "final": self.final, "test": self.test, "final-test": self.final_test}
        return None if self.diverged else found[self._state(by)]

    def score_metric(self, by: Measure) -> float | None:
        """Return the metric of the same state; none is kept of test data."""
        found = {"best": self.best_metric, "final": self.final_metric}
        return None if self.diverged else found.get(self._state(by))

    def _state(self, by: Measure) -> str:
        """The loss of the best state or of the last that a measure comes to."""
        if by == "returned":
            return "best" if self.keeps_best else "final"
        if by == "returned-test":
            return "test" if self.keeps_best else "final-test"
        return by


def numbers(outcome: Outcome) -> dict[str, Any]:
    """Return the fields that are a function of the job, without the time that it took."""
    return msgspec.to_builtins(msgspec.structs.replace(outcome, seconds=0.0, digest=""))  # type: ignore[no-any-return]
