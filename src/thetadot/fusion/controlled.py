r"""Runge-Kutta steps that follow the error, compiled: each path its own steps, from one time asked for to the next.

    k_i = f(x + γ Σ_{j<i} a_ij k_j),    e = rms( γ Σ (b_i - b̂_i) k_i / (atol + rtol max(|x|, |x'|)) )

Paths lie in lanes that are computed side by side, and a lane whose path has arrived takes the next one: no path waits
for another. Lanes are always computed together and by the same instructions, so that a path's numbers depend neither on
its lane nor on the paths beside it. Time and clocks are kept in float64 whatever the position is.
"""

from __future__ import annotations

import ctypes
import logging
import time
from typing import TYPE_CHECKING, Any

import torch

from thetadot.fusion.compiler import load_library
from thetadot.fusion.controlled_parts import CHUNK
from thetadot.fusion.controlled_source import source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from thetadot.fusion.components import Components
    from thetadot.fusion.controlled_parts import Method

log = logging.getLogger("thetadot")
COLUMNS = (
    "time",
    "length",
    "error_1",
    "error_2",
    "error_3",
    "shortest",
    "longest",
    "accepted",
    "rejected",
    "held_back",
)
"""What is known of a path beside its variables and their slopes, in the order of the addresses."""


class ControlledMarch:
    """A field of components and a method, compiled together.

    Args:
        components: outputs ``name_i``, the slope of component i of each variable; a clock's may be ``name`` alone.
        variables: of every path, name and number of components, all of ``dtype``.
        clocks: names of those that are one float64 a path.
        dtype: float32 or float64.
        method: of the steps.
        name: for the log.

    Raises:
        CannotCompile: no compiler, or an operation that has no C++.
    """

    def __init__(
        self,
        components: Components,
        variables: Mapping[str, int],
        clocks: Sequence[str],
        dtype: torch.dtype,
        method: Method,
        name: str,
    ) -> None:
        constants = tuple(components.constants.values())
        self._constants = (ctypes.c_double * max(len(constants), 1))(*constants)
        begun = time.perf_counter()
        loaded, cached = load_library(source(components, variables, clocks, dtype, method))
        log.info(
            "compiled %s in %.1f s%s", name, time.perf_counter() - begun, " (found in the cache)" if cached else ""
        )
        for entry in (loaded.begin, loaded.march):
            entry.argtypes = [ctypes.c_int64, *[ctypes.c_void_p] * 4, ctypes.c_int]
            entry.restype = None
        self._library = loaded

    def begin(self, arrays: Sequence[Tensor], settings: Sequence[float]) -> tuple[int, int]:
        """Fill in the slopes, and the first length of the paths whose length is 0; called as ``march`` is."""
        return self._call(self._library.begin, arrays, settings)

    def march(self, arrays: Sequence[Tensor], settings: Sequence[float]) -> tuple[int, int]:
        """Carry every path on in place; returns how many are under way still, and how many of them can go no further.

        Args:
            arrays: contiguous, on the CPU: variables (paths, components), clocks (paths, 1), their slopes in the same
                order, then those of ``controlled_parts.COLUMNS``, (paths, 1).
            settings: the numbers of ``controlled_parts.SETTINGS``.
        """
        return self._call(self._library.march, arrays, settings)

    def _call(self, entry: Any, arrays: Sequence[Tensor], settings: Sequence[float]) -> tuple[int, int]:
        paths = len(arrays[0])
        threads = max(1, min(torch.get_num_threads(), paths // CHUNK))
        addresses = (ctypes.c_int64 * len(arrays))(*(array.data_ptr() for array in arrays))
        counted = (ctypes.c_int64 * 2)()
        numbers = (ctypes.c_double * len(settings))(*settings)
        entry(paths, addresses, self._constants, numbers, counted, threads)
        return counted[0], counted[1]
