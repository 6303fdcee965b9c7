"""Temperature under shuffled epochs, under the name it had before :mod:`thetadot.dictionary`."""

from thetadot.dictionary.warmth import broken, flat_change

__all__ = ["broken", "flat_change"]
