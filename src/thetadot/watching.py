"""The former name of :mod:`thetadot.monitor`."""

import warnings

from thetadot.monitor import Batch, Watch, watch

__all__ = ["Batch", "Watch", "watch"]

warnings.warn("thetadot.watching is now thetadot.monitor. Import from there.", DeprecationWarning, stacklevel=2)
