"""The scaling rules in numbers: what each makes of the learning rate at other batch sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from thetadot.core.formatting import plain
from thetadot.report.present import Present, present
from thetadot.verdicts.scaling import RULES, Rule

if TYPE_CHECKING:
    from thetadot.report.runs import RecordedRun

FACTORS = (0.25, 0.5, 2.0, 4.0, 16.0)


@dataclass(frozen=True)
class Scaling:
    """A table: batch sizes, and for each rule its learning rates, each with whether it is vetoed."""

    run: RecordedRun
    batches: tuple[str, ...]
    rows: tuple[tuple[Rule, tuple[tuple[str, bool], ...]], ...]


def scaling(run: RecordedRun) -> Scaling | None:
    """The table of a run; None where it has no settings or no rule was made for its optimizer."""
    now = present(run.facts)
    rules = [] if now is None else now.rules(RULES)
    if now is None or not rules:
        return None
    batches = [now.batch * factor for factor in FACTORS if now.batch * factor >= 1]
    rows = tuple((rule, tuple(_rule_cells(rule, now, batch) for batch in batches)) for rule in rules)
    return Scaling(run, tuple(plain(batch) for batch in batches), rows)


def _rule_cells(rule: Rule, now: Present, batch: float) -> tuple[str, bool]:
    lr = now.lr_at(rule, batch)
    return plain(lr), lr is not None and now.highest_lr is not None and lr > now.highest_lr
