"""The settings of one step, from which rules, advice and pictures start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thetadot.dictionary.settings import Settings


@dataclass(frozen=True)
class OperatingPoint:
    """Settings that belong together, since one step had them all.

    Attributes:
        step: the step.
        settings: learning rate, batch size, momentum and decay of this step.
    """

    step: int
    settings: Settings
