"""Instruments: one quantity, one file. A probe never changes the run."""

from thetadot.probes.gradient_noise import GradientNoise, gradient_noise
from thetadot.probes.reference import Objective, undisturbed
from thetadot.probes.sharpness import Sharpness, sharpness

__all__ = ["GradientNoise", "Objective", "Sharpness", "gradient_noise", "sharpness", "undisturbed"]
