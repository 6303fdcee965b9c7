"""Motions by name, each with what is known of it and what there is to see."""

from thetadot.scenes.base import ERRORS, Parameter, Row, Scene, Settings, Setup
from thetadot.scenes.catalogue import CARDS

SCENES: dict[str, Scene] = {scene.name: scene for scene in CARDS}

__all__ = ["ERRORS", "SCENES", "Parameter", "Row", "Scene", "Settings", "Setup"]
