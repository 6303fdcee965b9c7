"""Coefficients as functions of the elapsed run: shapes, batch sizes, and lr with momentum at fixed friction."""

from thetadot.schedules.batch import staircase
from thetadot.schedules.coupling import Coupled, at_fixed_friction
from thetadot.schedules.shapes import cosine, linear, warmup

__all__ = ["Coupled", "at_fixed_friction", "cosine", "linear", "staircase", "warmup"]
