"""Ledger of the states saved so far, by schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from thetadot.errors import InadmissibleValue
from thetadot.simulation.trajectory import Series
from thetadot.systems.base import POSITION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from thetadot.simulation.saving import Save


class _Page:
    """Saved states of one schedule."""

    def __init__(self, name: str, save: Save, places: Mapping[float, float]) -> None:
        self.name, self.save, self.places = name, save, places
        self.times: list[float] = []
        self.values: list[Tensor] = []
        self.variables: dict[str, list[Tensor]] = {}

    def note(self, time: float, variables: Mapping[str, Tensor]) -> None:
        if self.save.what is None:
            self.values.append(variables[POSITION].clone())
            for name, value in variables.items():
                if name != POSITION:
                    self.variables.setdefault(name, []).append(value.clone())
        else:
            try:
                found = self.save.what(time, dict(variables))
            except KeyError as error:
                if error.args and error.args[0] in variables:
                    raise
                raise InadmissibleValue(
                    f"save={self.name!r} asks for {error}, and the variables are {', '.join(map(repr, variables))}."
                ) from error
            if not isinstance(found, torch.Tensor):
                raise InadmissibleValue(
                    f"save={self.name!r} gave a {type(found).__name__}. Let the function return a tensor."
                )
            self.values.append(found.detach().clone())
        self.times.append(time)  # last: an entry that was interrupted has none

    def series(self, like: Tensor) -> Series:
        times = torch.tensor(self.times, dtype=torch.float64)
        if not self.times:
            return Series(times, like.new_empty(0))
        whole = len(self.times)
        others = {name: torch.stack(values[:whole]) for name, values in self.variables.items()}
        return Series(times, torch.stack(self.values[:whole]), others)


class Ledger:
    """Takes down what the schedules ask for.

    Args:
        saves: by name.
        places: of each, the places (numbers of steps, or times) at which it saves, and the times that they are.
        first: variables at the start, which is place 0; saved where a schedule begins there.
    """

    def __init__(
        self, saves: Mapping[str, Save], places: Mapping[str, Mapping[float, float]], first: Mapping[str, Tensor]
    ) -> None:
        self._like = first[POSITION]
        self._pages = [_Page(name, save, places[name]) for name, save in saves.items()]
        self.save(0, first)

    def stops(self) -> list[float]:
        """Places after the start at which something is saved, in order."""
        return sorted({place for page in self._pages for place in page.places if place > 0})

    def save(self, place: float, variables: Mapping[str, Tensor]) -> None:
        """Let every schedule that names ``place`` take down what it keeps."""
        for page in self._pages:
            if place in page.places:
                page.note(page.places[place], variables)

    @property
    def numbers(self) -> int:
        """Count of the numbers saved so far."""
        return sum(value.numel() for page in self._pages for value in page.values)

    def series(self) -> dict[str, Series]:
        """Return the saved series, by schedule."""
        return {page.name: page.series(self._like) for page in self._pages}
