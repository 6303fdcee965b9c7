r"""Sums of squares over many tensors in one pass: Σ f(x)² of a program's one value, for each row of a kernel's table.

Squares are taken and added in double, in an order that is the tensor's own: parts of 2¹⁴ elements, each in 16 lanes,
one part after the other. So a sum does not depend on threads, nor on the tensors beside it.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import numpy as np
import torch

from thetadot.fusion.compiler import load_library
from thetadot.fusion.kernel import HEAD, threads_for
from thetadot.fusion.program import NUMBER
from thetadot.fusion.source import PREAMBLE, TYPES, SourceWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from thetadot.fusion.program import Array, Program

_PART, _LANES = 1 << 14, 16

_MAIN = """
#include <vector>
extern "C" void run(int64_t rows, const int64_t* table, const double* shared, double* sums, int threads) {{
    std::vector<int64_t> first(rows + 1);
    for (int64_t r = 0; r < rows; r++) first[r + 1] = first[r] + (table[r * {columns}] + {part} - 1) / {part};
    std::vector<double> parts(first[rows]);
    {numbers}
    #pragma omp parallel num_threads(threads) if (threads > 1)
    {{
        const int64_t mine = omp_get_thread_num(), all = omp_get_num_threads(), total = first[rows];
        const int64_t low = total * mine / all, high = total * (mine + 1) / all;
        for (int64_t r = 0; r < rows; r++) {{
            if (first[r + 1] <= low || first[r] >= high) continue;
            const int64_t* row = table + r * {columns};
            {pointers}
            const auto value = [&](int64_t i) {{
                {body}
            }};
            for (int64_t p = first[r] > low ? first[r] : low; p < first[r + 1] && p < high; p++) {{
                int64_t i = (p - first[r]) * {part};
                const int64_t end = i + {part} < row[0] ? i + {part} : row[0];
                double lanes[{lanes}] = {{}};
                for (; i + {lanes} <= end; i += {lanes}) {{
                    #pragma omp simd
                    for (int lane = 0; lane < {lanes}; lane++) {{
                        const double x = value(i + lane);
                        lanes[lane] += x * x;
                    }}
                }}
                for (int lane = 0; i < end; i++, lane++) {{
                    const double x = value(i);
                    lanes[lane] += x * x;
                }}
                double sum = 0;
                for (int lane = 0; lane < {lanes}; lane++) sum += lanes[lane];
                parts[p] = sum;
            }}
        }}
    }}
    for (int64_t r = 0; r < rows; r++) {{
        sums[r] = 0;
        for (int64_t p = first[r]; p < first[r + 1]; p++) sums[r] += parts[p];
    }}
}}
"""


class Sums:
    """A program whose only output is squared and summed.

    Args:
        program: of one element; its output is called "value".
        arrays: its array inputs in the order of the rows' addresses.
        shared: its number inputs, in order.

    Raises:
        CannotCompile: no compiler, or an operation that has no C++.
    """

    def __init__(self, program: Program, arrays: Sequence[Array], shared: Sequence[str]) -> None:
        library, _ = load_library(_sums_source(program, arrays, shared))
        self._run = library.run
        self._run.argtypes = [ctypes.c_int64, *[ctypes.c_void_p] * 3, ctypes.c_int]
        self._run.restype = None

    def on(self, table: NDArray[np.int64], shared: NDArray[np.float64]) -> Callable[[], NDArray[np.float64]]:
        """Ready to run on arrays that stay where they are; each call gives the same array, written anew."""
        sums = np.zeros(len(table))
        given = (len(table), table.ctypes.data, shared.ctypes.data, sums.ctypes.data)
        most, run = threads_for(table), self._run

        def again(held: tuple[NDArray[np.int64], NDArray[np.float64]] = (table, shared)) -> NDArray[np.float64]:  # noqa: ARG001
            run(*given, min(most, torch.get_num_threads()))
            return sums

        return again


def _sums_source(program: Program, arrays: Sequence[Array], shared: Sequence[str]) -> str:
    names = {name: f"shared[{i}]" for i, name in enumerate(shared)}
    writer = SourceWriter(program, names | {array.name: array.name for array in arrays})
    numbers = writer.statements(numbers=True)
    elements = writer.statements(numbers=False)
    result = program.outputs["value"]
    used = {node for step in program.nodes for node in step.all_input_nodes} | {result}
    pointers, loads = [], []
    for column, array in enumerate(arrays, len(HEAD)):
        if program.inputs[array.name] in used:
            kind = TYPES[array.dtype]
            pointers.append(f"const {kind}* const p_{array.name} = (const {kind}*)row[{column}];")
            loads.append(f"const {kind} {array.name} = p_{array.name}[i];")
    return PREAMBLE + _MAIN.format(
        columns=len(HEAD) + len(arrays),
        part=_PART,
        lanes=_LANES,
        numbers="\n    ".join(numbers),
        pointers="\n            ".join(pointers),
        body="\n                ".join([*loads, *elements, f"return {writer.value(result, NUMBER)};"]),
    )
