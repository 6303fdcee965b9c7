"""Ensembles of trajectories: motions, engines, and saving schedules."""

from thetadot.simulation.ensemble import simulate
from thetadot.simulation.saving import Save
from thetadot.simulation.trajectory import End, Series, Trajectory

__all__ = ["End", "Save", "Series", "Trajectory", "simulate"]
