"""Starting point of the scaling rules in pictures and tables: the run's operating point and its limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from thetadot.verdicts.edge import stability
from thetadot.verdicts.noise import scale

if TYPE_CHECKING:
    from thetadot.dictionary.families import Family
    from thetadot.dictionary.settings import Settings
    from thetadot.verdicts import Rule
    from thetadot.verdicts.facts import Facts
    from thetadot.verdicts.noise import Scale


@dataclass(frozen=True)
class Present:
    """The operating point of a run, with the noise and the limit measured there.

    Attributes:
        step: the step that had these settings.
        settings: learning rate, batch size and momentum of this step.
        family: which scaling rules were made for this optimizer; None where it is not known.
        noise: the noise scale that the verdicts name.
        highest_lr: lr·limit/λmax, above which the step may be unstable: by the upper end of what was measured last.
    """

    step: int
    settings: Settings
    family: Family | None
    noise: Scale | None
    highest_lr: float | None

    @property
    def lr(self) -> float:
        """The learning rate α."""
        return self.settings.lr

    @property
    def batch(self) -> float:
        """The batch size B."""
        return self.settings.batch

    def rules(self, every: tuple[Rule, ...]) -> list[Rule]:
        """Return the rules made for this optimizer; none where its family is not known."""
        return [] if self.family is None else [rule for rule in every if rule.applies(self.family)]

    def lr_at(self, rule: Rule, batch: float) -> float | None:
        """Return a rule's learning rate at another batch size; None where the rule gives none."""
        noise = self.noise.value if self.noise is not None and self.noise.resolved else None
        return rule.lr(self.lr, self.batch, batch, noise, momentum=self.settings.momentum)


def present(facts: Facts) -> Present | None:
    """The operating point of a record; None where no step has both a learning rate and a batch size."""
    point = facts.point
    if point is None:
        return None
    return Present(point.step, point.settings, facts.family, scale(facts), _highest_lr(facts, point.settings))


def _highest_lr(facts: Facts, settings: Settings) -> float | None:
    sharpness, limit = stability(facts, settings)
    return None if sharpness is None or limit is None or not sharpness > 0 else settings.lr * limit / sharpness
