"""Landscapes: potentials by name, each with its gradient."""

from thetadot.potentials.base import Potential, gradient_of
from thetadot.potentials.double_well import DoubleWell
from thetadot.potentials.harmonic import Harmonic

__all__ = ["DoubleWell", "Harmonic", "Potential", "gradient_of"]
