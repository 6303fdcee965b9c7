"""Runs of one task compared at equal budgets: paired differences over seeds, with intervals, on one page."""

from thetadot.comparing.comparison import compare
from thetadot.comparing.result import Comparison
from thetadot.comparing.several import Overall, overall

__all__ = ["Comparison", "Overall", "compare", "overall"]
