r"""Runge-Kutta steps that follow the error, with the field left out: all but the drift compiled, stage by stage.

Where a drift cannot be taken apart, for being learned or for coupling the paths, torch evaluates it for all paths at
once; where its next place is, and what becomes of the step, is one call each instead of dozens of torch's operations.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

from thetadot.fusion.compiler import load_library
from thetadot.fusion.controlled_parts import (
    COLUMNS,
    DECIDE,
    LANES_OF,
    NORM,
    PUT_AND_TAKE,
    Method,
    constants,
    loop,
    moved,
    summed,
)
from thetadot.fusion.march import VECTORS
from thetadot.fusion.source import PREAMBLE, TYPES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch
    from torch import Tensor

_ENTRIES = r"""
static inline int64_t fetch(Lanes& l, int64_t start, int64_t paths, const int64_t* at, const double* set, int stages) {{
    const int64_t count = paths - start < W ? paths - start : W;
    for (int64_t i = 0; i < count; i++) {{
        const int64_t p = start + i;
        put(l, i, p, at);
        l.active[i] = set[s_sign] * (set[s_end] - l.t[i]) > 0;
        for (int s = 1; s < stages; s++) {{
            {slopes}
        }}
    }}
    return count;
}}
static inline void go(Lanes& l, int stage) {{
    switch (stage) {{
        {cases}
    }}
}}
extern "C" void place(int64_t paths, const int64_t* at, const double* set, int stage) {{
    for (int64_t start = 0; start < paths; start += W) {{
        Lanes l;
        const int64_t count = fetch(l, start, paths, at, set, stage);
        aim(l, set);
        go(l, stage);
        for (int64_t i = 0; i < count; i++) {{
            const int64_t p = start + i;
            {places}
        }}
    }}
}}
extern "C" void settle(int64_t paths, const int64_t* at, const double* set, int64_t* counted) {{
    counted[0] = counted[1] = 0;
    for (int64_t start = 0; start < paths; start += W) {{
        Lanes l;
        const int64_t count = fetch(l, start, paths, at, set, {known});
        aim(l, set);
        go(l, {result});
        {handed}
        alignas(64) real away[N][W];
        {away}
        norm(away, l.y, l.z, set, l.e, l.zero);
        decide(l, set);
        for (int64_t i = 0; i < count; i++) {{
            take(l, i, at);
            counted[0] += set[s_sign] * (set[s_end] - l.t[i]) > 0;
            counted[1] += l.stuck[i];
        }}
    }}
}}
"""


class ControlledStages:
    """A method for systems of these variables; of the arguments of ``ControlledMarch``, without a field.

    Raises:
        CannotCompile: no compiler.
    """

    def __init__(self, variables: Mapping[str, int], clocks: Sequence[str], dtype: torch.dtype, method: Method) -> None:
        self.evaluations = len(method.rows) - 1 + (not method.hands_over)
        loaded, _ = load_library(_stages_source(variables, clocks, dtype, method))
        self._place, self._settle = loaded.place, loaded.settle
        self._place.argtypes = [ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]
        self._settle.argtypes = [ctypes.c_int64, *[ctypes.c_void_p] * 3]
        self._place.restype = self._settle.restype = None
        self._counted = (ctypes.c_int64 * 2)()

    @staticmethod
    def addresses(arrays: Sequence[Tensor]) -> ctypes.Array[ctypes.c_int64]:
        """Pack the addresses of contiguous arrays: ``ControlledMarch``'s, then slopes by stage, then places."""
        return (ctypes.c_int64 * len(arrays))(*(array.data_ptr() for array in arrays))

    @staticmethod
    def settings(numbers: Sequence[float]) -> ctypes.Array[ctypes.c_double]:
        """Pack the numbers of ``controlled_parts.SETTINGS`` for the kernel."""
        return (ctypes.c_double * len(numbers))(*numbers)

    def place(
        self, paths: int, addresses: ctypes.Array[ctypes.c_int64], settings: ctypes.Array[ctypes.c_double], stage: int
    ) -> None:
        """Fill in the places at which stage ``stage`` >= 1 asks for slopes."""
        self._place(paths, addresses, settings, stage)

    def settle(
        self, paths: int, addresses: ctypes.Array[ctypes.c_int64], settings: ctypes.Array[ctypes.c_double]
    ) -> tuple[int, int]:
        """Take the step of every path whose error allows; how many are under way, and can go no further."""
        self._settle(paths, addresses, settings, self._counted)
        return self._counted[0], self._counted[1]


def _stages_source(variables: Mapping[str, int], clocks: Sequence[str], dtype: torch.dtype, method: Method) -> str:
    stages, columns = len(method.rows), len(variables) + len(clocks)
    evaluations = stages - 1 + (not method.hands_over)
    first = 2 * columns + len(COLUMNS)
    slopes, places, handed, begun = [], [], [], 0
    given = [("k", "z", "last", width, TYPES[dtype]) for width in variables.values()]
    given += [("kc", "d", "lastc", 1, "double")] * len(clocks)
    for number, (k, z, last, width, kind) in enumerate(given):
        begun = 0 if number == len(variables) else begun
        each = f"for (int n = 0; n < {width}; n++)"
        slope = f"(({kind}*)at[{first} + (s - 1) * {columns} + {number}])[p * {width} + n]"
        slopes.append(f"{each} l.{k}[s][{begun} + n][i] = {slope};")
        place = f"(({kind}*)at[{first + evaluations * columns + number}])[p * {width} + n]"
        places.append(f"{each} {place} = l.{z}[{begun} + n][i];")
        end = f"(({kind}*)at[{first + (stages - 1) * columns + number}])[(start + i) * {width} + n]"
        handed.append(f"for (int64_t i = 0; i < count; i++) {each} l.{last}[{begun} + n][i] = {end};")
        begun += width
    ways = dict(enumerate(method.rows)) | ({} if method.hands_over else {stages: method.weights})
    cases = [f"case {stage}: {{ {' '.join(moved(row))} }} break;" for stage, row in ways.items() if stage]
    text = (LANES_OF + NORM + DECIDE + PUT_AND_TAKE + _ENTRIES).format(
        **constants(variables, clocks, dtype, method),
        slopes="\n            ".join(slopes),
        cases="\n        ".join(cases).replace("#pragma omp simd", "\n#pragma omp simd\n"),
        places="\n            ".join(places),
        known=stages,
        result=max(ways),
        handed="" if method.hands_over else "\n        ".join(handed),
        away="\n        ".join(loop("N", f"away[n][i] = {summed('l.hs[i]', 'real', 'l.k', method.distance)};")),
    )
    return VECTORS + PREAMBLE + text
