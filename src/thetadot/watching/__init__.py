"""Watching a training loop of one's own: hooks, cadence, and what is written down."""

from thetadot.watching.watcher import Watch, watch

__all__ = ["Watch", "watch"]
