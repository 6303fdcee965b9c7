"""The rules of batch sizes that a run's page draws, under the name they had before :mod:`thetadot.dictionary`."""

from thetadot.dictionary.batch_rules import (
    LI,
    LINEAR,
    MALLADI,
    MAREK,
    MCCANDLISH,
    MOTION,
    MUON,
    ROOT,
    RULES,
    SMITH,
)
from thetadot.dictionary.rule import Rule
from thetadot.dictionary.settings import Settings

__all__ = [
    "LI",
    "LINEAR",
    "MALLADI",
    "MAREK",
    "MCCANDLISH",
    "MOTION",
    "MUON",
    "ROOT",
    "RULES",
    "SMITH",
    "Rule",
    "Settings",
]
