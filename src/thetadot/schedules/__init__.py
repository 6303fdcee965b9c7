"""Schedules: curves in any unit of time, batches that grow, and settings that move together at a fixed invariant."""

from thetadot.schedules.amos import Decayed, amos_schedule, p_from_half_life
from thetadot.schedules.batch import BatchSchedule, staircase
from thetadot.schedules.clock import Clock
from thetadot.schedules.coupled import Coupled, Point
from thetadot.schedules.coupling import at_fixed_friction
from thetadot.schedules.curves import (
    Constant,
    Cosine,
    Curve,
    Join,
    Linear,
    Piecewise,
    Polynomial,
    Power,
    warmup_stable_decay,
)
from thetadot.schedules.sampler import BatchSampler, KeyedDataset, Part
from thetadot.schedules.scheduler import ScheduleLR
from thetadot.schedules.shapes import cosine, linear, warmup

__all__ = [
    "BatchSampler",
    "BatchSchedule",
    "Clock",
    "Constant",
    "Cosine",
    "Coupled",
    "Curve",
    "Decayed",
    "Join",
    "KeyedDataset",
    "Linear",
    "Part",
    "Piecewise",
    "Point",
    "Polynomial",
    "Power",
    "ScheduleLR",
    "amos_schedule",
    "at_fixed_friction",
    "cosine",
    "linear",
    "p_from_half_life",
    "staircase",
    "warmup",
    "warmup_stable_decay",
]
