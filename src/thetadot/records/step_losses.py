"""The training loss of every step: some hundreds of float32 to a line, four bytes each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

BLOCK = 256
"""Losses that a line has, unless it is the last one, or the run went back there."""
MOST = 512
"""Losses that a line may have."""
WIDTH = 4
"""Bytes of a float32."""


class Losses(msgspec.Struct, tag_field="kind", tag="losses", frozen=True):
    """Training losses of successive steps, of which ``step`` is the last.

    In the file they are base64 of little-endian float32: NaN is a loss that was not seen, infinite one that was no
    number, or beyond 3.4e38. A later line with earlier steps replaces them: the run had gone back.

    Raises:
        ValueError: the bytes are not whole float32, or there are more of them than steps.

    Example:
        >>> entry = Losses.of(12, [0.5, 0.25, float("nan")])
        >>> entry.first, entry.step, entry.numbers.tolist()
        (10, 12, [0.5, 0.25, nan])
    """

    step: int
    losses: Annotated[bytes, msgspec.Meta(min_length=WIDTH, max_length=WIDTH * MOST)]

    def __post_init__(self) -> None:
        if len(self.losses) % WIDTH:
            raise ValueError(f"{len(self.losses)} bytes are not whole float32, of {WIDTH} bytes")
        if not len(self) <= self.step < 2**53:
            raise ValueError(f"{len(self)} losses cannot end at step {self.step}")

    @classmethod
    def of(cls, step: int, values: Sequence[float]) -> Losses:
        """Build the line of losses that end at ``step``; what float32 does not hold becomes infinite."""
        with np.errstate(over="ignore"):
            return cls(step, np.asarray(values, dtype=np.float64).astype("<f4").tobytes())

    def __len__(self) -> int:
        return len(self.losses) // WIDTH

    @property
    def first(self) -> int:
        """The step of the first of the losses."""
        return self.step - len(self) + 1

    @property
    def numbers(self) -> NDArray[np.float32]:
        """The losses, one a step."""
        return np.frombuffer(self.losses, dtype="<f4")


class StepLosses:
    """Collects the loss of every step, and makes a line of each :data:`BLOCK` of them.

    A loss that is a tensor is kept on its device until its line is made, so that no step waits for it; all of a line
    are fetched together. Whoever writes the record writes each line that :meth:`add` and :meth:`end` return.

    Args:
        fetch: brings losses from an accelerator, in one transfer: given a list of tensors of one number, their floats.

    Example:
        >>> losses = StepLosses()
        >>> [losses.add(step, 1 / step) for step in (1, 2)]
        [None, None]
        >>> losses.end().numbers.tolist()
        [1.0, 0.5]
    """

    def __init__(self, fetch: Callable[[list[Any]], Sequence[float]] | None = None) -> None:
        self._fetch = fetch
        self._step = 0  # the last one
        self._waiting: list[Any] = []

    def add(self, step: int, loss: Any) -> Losses | None:
        """Take the loss of a step, a number, a tensor of one number, or None where none was seen.

        Steps before the first loss, and those of which none was seen at the end, are left out.

        Returns:
            The line to write: the one that this loss completes, or the one before where ``step`` is not the next step.
        """
        waiting = self._waiting
        if type(loss) is float and waiting and step == self._step + 1 and len(waiting) < BLOCK - 1:  # nearly always
            self._step = step
            waiting.append(_seen(loss))
            return None
        broken = self.end() if waiting and step != self._step + 1 else None
        if loss is None and not self._waiting:
            return broken
        self._step = step
        self._waiting.append(_kept(loss))
        return self.end() if len(self._waiting) >= BLOCK else broken

    def end(self) -> Losses | None:
        """Return the line of what was collected since the last one; None where that is nothing.

        Call it before a rollback is written, so that the losses that it undoes stand before it, and when the run ends.
        """
        values = self._fetched()
        self._waiting = []
        while values and np.isnan(values[-1]):
            values.pop()
            self._step -= 1
        return Losses.of(self._step, values) if values else None

    @property
    def state(self) -> dict[str, Any]:
        """Losses that are in no line yet, as numbers, for a checkpoint."""
        self._waiting = self._fetched()
        return {"step": self._step, "losses": list(self._waiting)}

    @state.setter
    def state(self, kept: Mapping[str, Any]) -> None:
        self._step, self._waiting = int(kept["step"]), [float(loss) for loss in kept["losses"]]

    def _fetched(self) -> list[float]:
        """The losses as floats; those on an accelerator in one transfer."""
        away = [loss for loss in self._waiting if not isinstance(loss, float)]
        if not away:
            return list(self._waiting)
        here = iter(self._fetch(away) if self._fetch is not None else map(float, away))
        return [loss if isinstance(loss, float) else _seen(float(next(here))) for loss in self._waiting]


def _kept(loss: Any) -> Any:
    """A float; of a tensor a copy on its device, which no later operation in place changes."""
    if loss is None:
        return math.nan
    return loss.detach().clone() if hasattr(loss, "detach") else _seen(float(loss))


def _seen(loss: float) -> float:
    """A loss that was seen: infinite where it was no number."""
    return math.inf if math.isnan(loss) else loss
