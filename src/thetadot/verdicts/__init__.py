"""Verdicts in words: pure functions of a record, which need neither torch nor a model."""

from thetadot.verdicts.base import State, Verdict
from thetadot.verdicts.headline import headline
from thetadot.verdicts.judge import judge
from thetadot.verdicts.rules_table import Row, table
from thetadot.verdicts.scaling import RULES, Rule, Settings

__all__ = ["RULES", "Row", "Rule", "Settings", "State", "Verdict", "headline", "judge", "table"]
