"""Watching a training loop of one's own: hooks, cadence, and what is written down."""

from thetadot.watching.reference import Batch
from thetadot.watching.watcher import Watch, watch

__all__ = ["Batch", "Watch", "watch"]
