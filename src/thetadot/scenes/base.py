"""Scenes: a motion with its defaults, its closed-form quantities and its pictures."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch

    from thetadot.integrators import Integrator
    from thetadot.integrators.adaptive import Embedded
    from thetadot.report.figures.picture import Picture
    from thetadot.simulation import Save, Trajectory
    from thetadot.systems import Problem, System

Value = float | int | str
Reference = Literal["closed form", "quadrature", "grid solution", "other method", "asymptotic formula"]
"""How what is expected is known."""
ERRORS = 4.0
"""Standard errors within which a measurement agrees: one in 16000 true statements is called false."""


@dataclass(frozen=True)
class Row:
    """A line of the table: what was measured beside what is known.

    Attributes:
        quantity: its name.
        measured: on the paths.
        expected: what is known of it; None where nothing is, or where what is known does not hold.
        source: where that comes from.
        error: one standard error of what was measured, 0 if it is no estimate.
        tolerance: by which it may differ besides.
        remark: why the tolerance is what it is.
        reference: how what is expected is known.
    """

    quantity: str
    measured: float
    expected: float | None = None
    source: str = ""
    error: float = 0.0
    tolerance: float = 0.0
    remark: str = ""
    reference: Reference = "closed form"

    @property
    def agrees(self) -> bool | None:
        """Whether measured and expected are within 4 standard errors and the tolerance; None without expectation.

        Example:
            >>> Row("x", 1.1, 1.0, error=0.03).agrees, Row("x", 1.2, 1.0, error=0.03).agrees, Row("x", 1.0).agrees
            (True, False, None)
        """
        if self.expected is None:
            return None
        if self.measured == self.expected:
            return True
        within = ERRORS * self.error + self.tolerance
        return math.isfinite(within) and abs(self.measured - self.expected) <= within


@dataclass(frozen=True)
class Parameter:
    """A number or word that ``--set`` changes."""

    default: Value
    meaning: str


@dataclass(frozen=True)
class Settings:
    """Settings of a scene, defaults included; ``step`` is None where the method chooses its own steps."""

    paths: int
    time: float
    step: float | None
    rule: Integrator | Embedded
    temperature: float | None
    friction: float | None
    key: int
    values: Mapping[str, Value]

    def number(self, name: str) -> float:
        """A parameter that is a number."""
        return float(self.values[name])

    def word(self, name: str) -> str:
        """A parameter that is a word."""
        return str(self.values[name])


@dataclass(frozen=True)
class Setup:
    """A motion ready to be simulated.

    Attributes:
        motion: what moves.
        initial: where from: a tensor (paths, dim), or variables by name.
        save: schedules beside those of every simulation.
        rows: of a trajectory: the table.
        pictures: of a trajectory: those of this scene alone, shown first.
        names: of the position's coordinates.
        shown: pictures of every simulation that are worth showing here: "fan", "energy".
    """

    motion: Problem | System
    initial: torch.Tensor | Mapping[str, torch.Tensor]
    rows: Callable[[Trajectory], list[Row]]
    pictures: Callable[[Trajectory], list[Picture]]
    save: Mapping[str, Save] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    shown: tuple[str, ...] = ("fan", "energy")


@dataclass(frozen=True)
class Scene:
    """A named motion with its defaults.

    Attributes:
        name: as the command calls it.
        title: heading of its page.
        says: one sentence of what it is.
        make: builds it.
        paths, time, step, integrator: defaults.
        temperature, friction: defaults; None where there is none unless given.
        heated, damped: whether it can have them.
        parameters: what ``--set`` knows.
        rule: an integrator without a name, where "integrator" is empty.
    """

    name: str
    title: str
    says: str
    make: Callable[[Settings], Setup]
    paths: int
    time: float
    step: float
    integrator: str
    temperature: float | None = None
    friction: float | None = None
    heated: bool = False
    damped: bool = False
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    rule: Integrator | Embedded | None = None


def mean_row(
    quantity: str,
    samples: torch.Tensor,
    expected: float | None,
    source: str,
    tolerance: float = 0.0,
    reference: Reference = "closed form",
) -> Row:
    """Compare the mean of independent samples with its known value."""
    values = samples.detach().double().flatten()
    error = float(values.std()) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return Row(quantity, float(values.mean()), expected, source, error, tolerance, reference=reference)


def share_row(
    quantity: str, hits: torch.Tensor, expected: float | None, source: str, reference: Reference = "closed form"
) -> Row:
    """A share of paths beside its probability; its error is that of the probability, which a share of 0 has too."""
    share = float(hits.double().mean())
    known = share if expected is None else expected
    error = math.sqrt(max(known * (1.0 - known), 1.0 / hits.numel()) / hits.numel())
    return Row(quantity, share, expected, source, error, reference=reference)
