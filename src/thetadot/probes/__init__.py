"""Instruments: one quantity, one file. A probe never changes the run."""

from thetadot.probes.alignment import alignment, stationary_alignment
from thetadot.probes.averages import Interval, Ratio, mean_interval, ratio_interval
from thetadot.probes.barrier import Barrier, barrier
from thetadot.probes.batch_sharpness import BatchSharpness, batch_sharpness
from thetadot.probes.critical_sharpness import CriticalSharpness, critical_sharpness
from thetadot.probes.curvature_noise import CurvatureNoise, curvature_noise
from thetadot.probes.fluctuation import Fluctuation, fluctuation, heavy_ball_fluctuation
from thetadot.probes.ghost import GhostNorms, ghost_norms
from thetadot.probes.gradient_noise import GradientNoise, gradient_noise, noise_from_squares, pooled_noise
from thetadot.probes.reference import Objective, undisturbed
from thetadot.probes.regularization import gradient_term, noise_coefficient, noise_term
from thetadot.probes.sharpness import Sharpness, sharpness
from thetadot.probes.stationarity import Stationarity, stationarity
from thetadot.probes.trend import trend

__all__ = [
    "Barrier",
    "BatchSharpness",
    "CriticalSharpness",
    "CurvatureNoise",
    "Fluctuation",
    "GhostNorms",
    "GradientNoise",
    "Interval",
    "Objective",
    "Ratio",
    "Sharpness",
    "Stationarity",
    "alignment",
    "barrier",
    "batch_sharpness",
    "critical_sharpness",
    "curvature_noise",
    "fluctuation",
    "ghost_norms",
    "gradient_noise",
    "gradient_term",
    "heavy_ball_fluctuation",
    "mean_interval",
    "noise_coefficient",
    "noise_from_squares",
    "noise_term",
    "pooled_noise",
    "ratio_interval",
    "sharpness",
    "stationarity",
    "stationary_alignment",
    "trend",
    "undisturbed",
]
