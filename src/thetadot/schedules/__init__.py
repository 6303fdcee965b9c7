"""Coefficients as functions of the elapsed run: shapes, batch sizes, and lr with momentum at fixed friction."""

from thetadot.schedules.amos import Decayed, amos_schedule, p_from_half_life
from thetadot.schedules.batch import staircase
from thetadot.schedules.coupling import Coupled, at_fixed_friction
from thetadot.schedules.shapes import cosine, linear, warmup

__all__ = [
    "Coupled",
    "Decayed",
    "amos_schedule",
    "at_fixed_friction",
    "cosine",
    "linear",
    "p_from_half_life",
    "staircase",
    "warmup",
]
