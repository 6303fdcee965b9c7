"""Measurements on the reference batch, one a file; each is rare, and its cost is counted beforehand."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

from thetadot.monitor.measurements.base import Measurement, Moment

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MEASUREMENTS", "Measurement", "Moment"]


def _subclasses(of: Any) -> Iterator[type[Measurement]]:
    for kind in of.__subclasses__():
        yield kind
        yield from _subclasses(kind)


for _file in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_file.name}")

MEASUREMENTS: dict[str, type[Measurement]] = {
    kind.name: kind for kind in sorted(_subclasses(Measurement), key=lambda kind: kind.order)
}
"""By name, in the order in which they are paid."""
