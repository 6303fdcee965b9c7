"""Reading and hyperparameters of the optimizer's parameter groups."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from thetadot.probes.readings import read
from thetadot.records import Setting
from thetadot.translation import damping, step_of

if TYPE_CHECKING:
    from torch import Tensor

    from thetadot.core.reading import Reading
    from thetadot.monitor.layers import Layout

_OTHERS = ("params", "thetadot", "param_names")


class OptimizerSettings:
    """Reading of an optimizer's groups; the group with most parameters represents the whole."""

    def __init__(self, optimizer: Any, layout: Layout) -> None:
        self.optimizer = optimizer
        self.layout = layout
        self.seen: dict[int, dict[str, Any]] = {}

    @property
    def lr(self) -> float:
        """Learning rate of the main group."""
        return float(self.optimizer.param_groups[self.layout.main].get("lr", math.nan))

    def reading(self) -> Reading:
        """Reading of the main group, with the preconditioners of all groups."""
        groups = self.optimizer.param_groups
        reading = read(self.optimizer, groups[self.layout.main])
        if reading.preconditioner is None or len(groups) == 1:
            return reading
        merged: dict[Tensor, Tensor] = {}
        for group in groups:
            merged |= read(self.optimizer, group).preconditioner or {}
        return replace(reading, preconditioner=merged)

    def changed(self, step: int) -> list[Setting]:
        """Groups whose settings that are no numbers have changed; lr and momentum of every reading are in Motion."""
        found = []
        for i, group in enumerate(self.optimizer.param_groups):
            values = _plain({name: value for name, value in group.items() if name not in _OTHERS})
            kinds = {name: value for name, value in values.items() if not isinstance(value, float)}
            if self.seen.get(i) != kinds:
                self.seen[i] = kinds
                found.append(Setting(step, i, self.layout.sizes[i], values))
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return the settings that were last written."""
        return {"seen": self.seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the settings of a checkpoint."""
        self.seen = {int(group): dict(values) for group, values in state["seen"].items()}


def clock_step(reading: Reading) -> float:
    """γ of the heavy-ball form; the optimizer's own step where it has none."""
    if reading.rate is None:
        return reading.step if math.isfinite(reading.step) else 0.0
    return float(step_of(reading.rate, reading.memory))


def friction(reading: Reading) -> float | None:
    """λ of the heavy-ball form; the optimizer's own where it has none."""
    step = clock_step(reading)
    if reading.rate is None:
        return reading.friction
    return float(damping(reading.memory)) / step if step else None


def _plain(values: dict[str, Any]) -> dict[str, float | bool | str | None]:
    """Numbers as floats, pairs as two of them, anything else by its type.

    Example:
        >>> _plain({"lr": 0.1, "betas": (0.9, 0.99), "foreach": None, "generator": object()})
        {'lr': 0.1, 'betas[0]': 0.9, 'betas[1]': 0.99, 'foreach': None, 'generator': 'object'}
    """
    found: dict[str, float | bool | str | None] = {}
    for name, value in values.items():
        if isinstance(value, tuple | list):
            found |= _plain({f"{name}[{i}]": part for i, part in enumerate(value)})
        elif value is None or isinstance(value, bool | str):
            found[name] = value
        elif isinstance(value, int | float) or getattr(value, "numel", lambda: 0)() == 1:
            number = float(value)
            found[name] = number if math.isfinite(number) else str(number)
        else:
            found[name] = type(value).__name__
    return found
