"""Verdicts in words: pure functions of a record, which need neither torch nor a model."""

from thetadot.verdicts.base import State, Verdict
from thetadot.verdicts.judge import judge
from thetadot.verdicts.scaling import RULES, Rule

__all__ = ["RULES", "Rule", "State", "Verdict", "judge"]
