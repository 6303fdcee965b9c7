"""Schedules: curves in any unit of time, batches that grow, and settings that move together at a fixed invariant."""

from thetadot.schedules.amos import Decayed, amos_schedule, p_from_half_life
from thetadot.schedules.batch import BatchSchedule, staircase
from thetadot.schedules.clock import Clock
from thetadot.schedules.coupled import Coupled, StepSettings
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
from thetadot.schedules.paths import Recorded
from thetadot.schedules.prediction import Best, Expected, Prediction, best_schedule, predict
from thetadot.schedules.sampler import BatchSampler, KeyedDataset, Part
from thetadot.schedules.scheduler import ScheduleLR
from thetadot.schedules.shapes import cosine, linear, warmup

__all__ = [
    "BatchSampler",
    "BatchSchedule",
    "Best",
    "Clock",
    "Constant",
    "Cosine",
    "Coupled",
    "Curve",
    "Decayed",
    "Expected",
    "Join",
    "KeyedDataset",
    "Linear",
    "Part",
    "Piecewise",
    "Polynomial",
    "Power",
    "Prediction",
    "Recorded",
    "ScheduleLR",
    "StepSettings",
    "amos_schedule",
    "at_fixed_friction",
    "best_schedule",
    "cosine",
    "linear",
    "p_from_half_life",
    "predict",
    "staircase",
    "warmup",
    "warmup_stable_decay",
]
