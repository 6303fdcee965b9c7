"""Ensembles of trajectories: what moves, how it is stepped, and what is kept of it."""

from thetadot.simulation.ensemble import simulate
from thetadot.simulation.saving import Save
from thetadot.simulation.trajectory import End, Series, Trajectory

__all__ = ["End", "Save", "Series", "Trajectory", "simulate"]
