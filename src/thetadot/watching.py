"""The former name of :mod:`thetadot.monitor`, kept for what imports it."""

from thetadot.monitor import Batch, Watch, watch

__all__ = ["Batch", "Watch", "watch"]
