"""The law of the state: where a motion settles, how its density gets there, how rarely it leaves a well."""

from thetadot.density.action import action, most_probable_path
from thetadot.density.continuity import carry, log_volume
from thetadot.density.escape import Escapes, Saddle, count_escapes, escape_rate, mean_first_passage_time
from thetadot.density.fokker_planck import FokkerPlanck
from thetadot.density.gibbs import Gibbs
from thetadot.density.grid import Grid
from thetadot.density.kinetic import Kinetic
from thetadot.density.metrics import natural_gradient, proximal_step, steepest_direction
from thetadot.density.ornstein_uhlenbeck import OrnsteinUhlenbeck
from thetadot.density.wasserstein import ParticleFlow, gaussian_divergence, jko_gaussian

__all__ = [
    "Escapes",
    "FokkerPlanck",
    "Gibbs",
    "Grid",
    "Kinetic",
    "OrnsteinUhlenbeck",
    "ParticleFlow",
    "Saddle",
    "action",
    "carry",
    "count_escapes",
    "escape_rate",
    "gaussian_divergence",
    "jko_gaussian",
    "log_volume",
    "mean_first_passage_time",
    "most_probable_path",
    "natural_gradient",
    "proximal_step",
    "steepest_direction",
]
