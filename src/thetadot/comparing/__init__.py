"""Runs of one task compared at equal budgets: paired differences over seeds, with intervals, on one page."""

from thetadot.comparing.comparison import compare
from thetadot.comparing.result import Comparison

__all__ = ["Comparison", "compare"]
