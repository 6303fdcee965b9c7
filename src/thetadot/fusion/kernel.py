"""A compiled program, run on many tensors in one parallel region.

All elements of all tensors are one range, cut into as many equal parts as there are threads, so that neither small
tensors nor large ones are a case of their own. Nothing is copied or moved: the kernel gets addresses.
"""

from __future__ import annotations

import ctypes
import logging
import time
from typing import TYPE_CHECKING

import torch

from thetadot.fusion.compiler import load_library
from thetadot.fusion.noise import BLOCK, library
from thetadot.fusion.source import PREAMBLE, TYPES, SourceWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    import numpy as np
    from numpy.typing import NDArray

    from thetadot.fusion.program import Array, Program

log = logging.getLogger("thetadot")

HEAD = ("numel", "index", "stream")
"""The first columns of a row: elements, the first one's place in the whole tensor, the noise's stream."""
_LEAST = 1 << 14  # elements worth a thread
_WORD = 2**64 - 1

_MAIN = """
static inline void numbers(const double* shared, const double* own, double* out) {{
    {numbers}
    {outputs}
}}
extern "C" void run(int64_t rows, const int64_t* table, const double* shared, const double* own_of, double* out_of,
                    uint64_t key, int threads) {{
    int64_t total = 0;
    for (int64_t r = 0; r < rows; r++) {{
        total += table[r * {columns}];
        numbers(shared, own_of + r * {own}, out_of + r * {out});
    }}
    #pragma omp parallel num_threads(threads) if (threads > 1)
    {{
        const int64_t part = omp_get_thread_num(), parts = omp_get_num_threads();
        const int64_t low = (total * part / parts) & ~63LL, cut = (total * (part + 1) / parts) & ~63LL;
        const int64_t high = part + 1 == parts ? total : cut;
        int64_t before = 0;
        for (int64_t r = 0; r < rows; r++) {{
            const int64_t* row = table + r * {columns};
            const int64_t begin = low > before ? low - before : 0;
            const int64_t end = high - before < row[0] ? high - before : row[0];
            before += row[0];
            if (begin >= end) continue;
            const double* own = own_of + r * {own};
            {pointers}
            {local}
            {loop}
        }}
    }}
}}
"""
_QUIET = """
            #pragma omp simd
            for (int64_t i = begin; i < end; i++) {{
                {body}
            }}"""
_NOISY = """
            const uint64_t branch = derive(derive(key, uint64_t(row[2])), {stage});
            {keys}
            for (int64_t start = begin; start < end; start += {block}) {{
                const int64_t count = end - start < {block} ? end - start : {block};
                {draws}
                #pragma omp simd
                for (int64_t i = start; i < start + count; i++) {{
                    {body}
                }}
            }}"""


class Kernel:
    """A program compiled into a shared library.

    Args:
        program: what is done to one element.
        arrays: its array inputs in the order of the rows' addresses; outputs of these names are written there.
        shared: its number inputs that all rows have in common, in order.
        own: those that every row has for itself.
        stage: branch of the noise's key; see :mod:`thetadot.core.rng`.
        name: for the log.

    Raises:
        CannotCompile: no compiler, or an operation that has no C++.
    """

    def __init__(
        self,
        program: Program,
        arrays: Sequence[Array],
        shared: Sequence[str],
        own: Sequence[str],
        stage: int,
        name: str,
    ) -> None:
        names = {array.name for array in arrays}
        self.numbers = tuple(output for output in program.outputs if output not in names)
        begun = time.perf_counter()
        source = _source(program, arrays, shared, own, self.numbers, stage)
        library, cached = load_library(source)
        log.info(
            "compiled %s in %.1f s%s", name, time.perf_counter() - begun, " (found in the cache)" if cached else ""
        )
        self._run = library.run
        self._run.argtypes = [ctypes.c_int64, *[ctypes.c_void_p] * 4, ctypes.c_uint64, ctypes.c_int]
        self._run.restype = None

    def on(
        self,
        table: NDArray[np.int64],
        shared: NDArray[np.float64],
        own: NDArray[np.float64],
        out: NDArray[np.float64],
    ) -> Callable[[int], None]:
        """Ready to run on arrays that stay where they are: a function of the noise's key, to be called again and again.

        Args:
            table: (rows, 3 + arrays): :data:`HEAD`, then addresses.
            shared: (numbers,).
            own: (rows, numbers).
            out: (rows, outputs that are numbers); written.
        """
        given = (len(table), *(array.ctypes.data for array in (table, shared, own, out)))
        most, run = threads_for(table), self._run

        def again(key: int, held: tuple[Any, ...] = (table, shared, own, out)) -> None:  # noqa: ARG001
            run(*given, key & _WORD, min(most, torch.get_num_threads()))

        return again


def threads_for(table: NDArray[np.int64]) -> int:
    """Return the number of threads that pays for its start."""
    return max(1, int(table[:, 0].sum()) // _LEAST)


def _source(
    program: Program,
    arrays: Sequence[Array],
    shared: Sequence[str],
    own: Sequence[str],
    numbers: Sequence[str],
    stage: int,
) -> str:
    names = {name: f"shared[{i}]" for i, name in enumerate(shared)} | {name: f"own[{i}]" for i, name in enumerate(own)}
    names |= {name: name for name in program.inputs if name not in names}
    writer = SourceWriter(program, names)
    local = writer.statements(numbers=True)
    outputs = [f"out[{i}] = {writer.value(program.outputs[name], 'number')};" for i, name in enumerate(numbers)]
    elements = writer.statements(numbers=False)
    used = {node for step in program.nodes for node in step.all_input_nodes} | set(program.outputs.values())
    pointers, loads, stores = [], [], []
    for column, array in enumerate(arrays, len(HEAD)):
        kind, written = TYPES[array.dtype], array.name in program.outputs
        constant = "" if written else "const "
        pointers.append(f"{constant}{kind}* __restrict const p_{array.name} = ({constant}{kind}*)row[{column}];")
        if program.inputs[array.name] in used:
            loads.append(f"const {kind} {array.name} = p_{array.name}[i];")
        if written:
            stores.append(f"p_{array.name}[i] = {writer.value(program.outputs[array.name], array.dtype)};")
    draws = [name for name in program.inputs if name.startswith("draw") and program.inputs[name] in used]
    words = "words" in program.inputs and program.inputs["words"] in used
    loads += [f"const float {name} = b_{name}[i - start];" for name in draws]
    loads += ["const uint32_t words = b_words[i - start];"] if words else []
    body = "\n                ".join([*loads, *elements, *stores])
    loop = _noisy(draws, words, stage, body) if draws or words else _QUIET.format(body=body)
    main = _MAIN.format(
        numbers="\n    ".join(local),
        outputs="\n    ".join(outputs),
        columns=len(HEAD) + len(arrays),
        own=len(own),
        out=len(numbers),
        pointers="\n            ".join(pointers),
        local="\n            ".join(local),
        loop=loop,
    )
    return PREAMBLE + (library() if draws or words else "") + main


def _noisy(draws: Sequence[str], words: bool, stage: int, body: str) -> str:  # noqa: FBT001
    keys = [f"const uint64_t k_{name} = derive(branch, {name.removeprefix('draw')});" for name in draws]
    fills = [
        f"float a_{name}[{BLOCK} + 2]; const float* b_{name} = draw_normals(a_{name}, k_{name}, row[1] + start, count);"
        for name in draws
    ]
    if words:
        keys.append("const uint64_t k_words = derive(branch, 0);")
        fills.append(
            f"uint32_t a_words[{BLOCK} + 2]; "
            "const uint32_t* b_words = draw_words(a_words, k_words, row[1] + start, count);"
        )
    return _NOISY.format(
        stage=stage,
        keys="\n            ".join(keys),
        block=BLOCK,
        draws="\n                ".join(fills),
        body=body,
    )
