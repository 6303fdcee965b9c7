"""Verdicts in words: pure functions of a record, which need neither torch nor a model."""

from thetadot.verdicts.base import State, Verdict

__all__ = ["State", "Verdict"]
