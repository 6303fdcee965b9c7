"""The law of the state."""
from thetadot.density.fokker_planck import FokkerPlanck
from thetadot.density.grid import Grid
from thetadot.density.kinetic import Kinetic
