"""Watching a training loop of one's own: hooks, cadence, and what is written down."""

from thetadot.monitor.reference import Batch
from thetadot.monitor.watcher import Watch, watch

__all__ = ["Batch", "Watch", "watch"]
