"""thetadot (θ̇): training read as motion.

The loss is a potential, an optimizer is a differential equation plus a rule for stepping it; learning rate, momentum
and batch size are a time step, a friction and a temperature.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from thetadot.version import __version__ as __version__

# Loaded when first used, so that reading a record or drawing a report never imports torch.
_MODULES = (
    "analysis",
    "comparing",
    "density",
    "errors",
    "integrators",
    "monitor",
    "optim",
    "potentials",
    "probes",
    "records",
    "report",
    "scenes",
    "schedules",
    "simulation",
    "systems",
    "tasks",
    "training",
    "translation",
    "verdicts",
)
_NAMES = {
    "Task": "thetadot.tasks",
    "Result": "thetadot.training",
    "run": "thetadot.training",
    "load": "thetadot.training",
    "suggest": "thetadot.training",
    "Suggestion": "thetadot.training",
    "checkpoint": "thetadot.training.loops",
    "simulate": "thetadot.simulation",
    "watch": "thetadot.monitor",
    "Comparison": "thetadot.comparing",
    "compare": "thetadot.comparing",
}

__all__ = [
    "Comparison",
    "Result",
    "Suggestion",
    "Task",
    "analysis",
    "checkpoint",
    "compare",
    "comparing",
    "density",
    "errors",
    "integrators",
    "load",
    "monitor",
    "optim",
    "potentials",
    "probes",
    "records",
    "report",
    "run",
    "scenes",
    "schedules",
    "simulate",
    "simulation",
    "suggest",
    "systems",
    "tasks",
    "training",
    "translation",
    "verdicts",
    "watch",
]

if TYPE_CHECKING:
    from thetadot import (
        analysis,
        comparing,
        density,
        errors,
        integrators,
        monitor,
        optim,
        potentials,
        probes,
        records,
        report,
        scenes,
        schedules,
        simulation,
        systems,
        tasks,
        training,
        translation,
        verdicts,
    )
    from thetadot.comparing import Comparison, compare
    from thetadot.monitor import watch
    from thetadot.simulation import simulate
    from thetadot.tasks import Task
    from thetadot.training import Result, Suggestion, load, run, suggest
    from thetadot.training.loops import checkpoint


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"thetadot.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'thetadot' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES, *_NAMES])
