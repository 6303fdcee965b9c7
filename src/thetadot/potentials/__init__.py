"""Landscapes: potentials by name, each with its gradient."""

from thetadot.potentials.base import Potential, gradient_of
from thetadot.potentials.double_well import DoubleWell
from thetadot.potentials.harmonic import Harmonic
from thetadot.potentials.quartic import Quartic2d
from thetadot.potentials.ring import Ring
from thetadot.potentials.uneven_wells import UnevenWells

__all__ = ["DoubleWell", "Harmonic", "Potential", "Quartic2d", "Ring", "UnevenWells", "gradient_of"]
