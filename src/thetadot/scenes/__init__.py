"""Experiments of physics and of games by name: simulated, and held against what is known of them.

    result = thetadot.scenes.double_well(temperature=0.2).run()
    result.table                        # rows of measured against known
    result.plot()                       # pictures, as a bokeh layout
    result.write("runs/double-well")    # record, arrays and page, as ``thetadot simulate`` writes them

A motion of one's own is simulated by :func:`own`; :func:`resume` goes on with a folder.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from thetadot.scenes.catalogue import SCENES
from thetadot.scenes.rows import ERRORS, SceneRow
from thetadot.scenes.scene import Parameter, Scene, SceneSettings, Setup

if TYPE_CHECKING:
    from thetadot.scenes.custom import own
    from thetadot.scenes.experiment import Experiment
    from thetadot.scenes.named import (
        competition,
        descent_flows,
        dirac_gan,
        double_well,
        geometric_brownian,
        harmonic,
        jacobi,
        mathieu,
        quartic_2d,
        simsiam,
        wgan_div,
    )
    from thetadot.scenes.result import Result
    from thetadot.scenes.resuming import resume
    from thetadot.scenes.table import Table

# Loaded when first used, so that a list of scenes never imports torch.
_LATE = {"Experiment": "experiment", "Result": "result", "Table": "table", "own": "custom", "resume": "resuming"}
_LATE |= {name.replace("-", "_"): "named" for name in SCENES}

__all__ = [
    "ERRORS",
    "SCENES",
    "Experiment",
    "Parameter",
    "Result",
    "Scene",
    "SceneRow",
    "SceneSettings",
    "Setup",
    "Table",
    "competition",
    "descent_flows",
    "dirac_gan",
    "double_well",
    "geometric_brownian",
    "harmonic",
    "jacobi",
    "mathieu",
    "own",
    "quartic_2d",
    "resume",
    "simsiam",
    "wgan_div",
]


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(importlib.import_module(f"thetadot.scenes.{_LATE[name]}"), name)
    raise AttributeError(f"module 'thetadot.scenes' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LATE])
