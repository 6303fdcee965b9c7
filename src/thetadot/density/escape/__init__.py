"""Escape rates from a well: formulas, quadrature, counting; a fourth way is FokkerPlanck.spectral_gap."""

from thetadot.density.escape.counting import Escapes, count_escapes
from thetadot.density.escape.passage import mean_first_passage_time
from thetadot.density.escape.saddle import Saddle, escape_rate

__all__ = ["Escapes", "Saddle", "count_escapes", "escape_rate", "mean_first_passage_time"]
