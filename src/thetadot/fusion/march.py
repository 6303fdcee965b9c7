"""A compiled program carried through many steps: a block of paths at a time, from the first step to the last.

A block's state stays in the first-level cache for all steps, so that memory is read and written once a march. The noise
of draw n in step s on component i of path p is element p of the key derive(key, s, n, i): the same for any cutting into
blocks, threads, marches and machines.
"""

from __future__ import annotations

import ctypes
import logging
import time
from typing import TYPE_CHECKING, Literal

import torch

from thetadot.fusion.compiler import load_library
from thetadot.fusion.noise import BLOCK, library
from thetadot.fusion.program import NUMBER
from thetadot.fusion.source import PREAMBLE, TYPES, SourceWriter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from thetadot.fusion.components import Components

    Noise = Literal["normal", "rademacher"]

log = logging.getLogger("thetadot")

_MAIN = """
extern "C" void march(int64_t paths, int64_t first, int64_t steps, int64_t before,
                      const int64_t* addresses, const int64_t* strides, const double* shared, const double* carried,
                      double* handed, uint64_t key, int threads) {{
    const int64_t blocks = (paths + {block} - 1) / {block};
    #pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1)
    for (int64_t b = 0; b < blocks; b++) {{
        const int64_t start = b * {block}, count = paths - start < {block} ? paths - start : {block};
        const int64_t padded = (count + 63) & ~63LL;
        {buffers}
        {begin}
        for (int64_t s = before; s < before + steps; s++) {{
            {numbers}
            {keys}
            {draws}
            #pragma omp simd
            for (int64_t i = 0; i < padded; i++) {{
                {body}
            }}
            {next}
        }}
        {end}
        if (b == 0) {{ {out} }}
    }}
}}
"""
# The C library's own vector functions. A block is padded, so that no element is ever computed by the scalar ones:
# they differ in the last place, and a path must not depend on where it lies.
VECTORS = """
#if __has_include(<features.h>)
#include <features.h>
#endif
#if defined(__GLIBC__) && defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define VECTOR(name) \
    _Pragma("omp declare simd notinbranch") extern "C" float name##f(float) noexcept; \
    _Pragma("omp declare simd notinbranch") extern "C" double name(double) noexcept;
VECTOR(sin) VECTOR(cos) VECTOR(exp) VECTOR(log)
#if __GLIBC__ > 2 || __GLIBC_MINOR__ >= 35
VECTOR(tan) VECTOR(tanh)
#endif
#endif
"""
_SIGNS = """
static inline const float* draw_signs(float* block, uint64_t key, int64_t index, int64_t count) {
    const uint32_t k0 = uint32_t(key), k1 = uint32_t(key >> 32);
    const int64_t pair = index / 64, pairs = (index + count - 1) / 64 - pair + 1;
    for (int64_t i = 0; i < pairs; i++) {
        uint32_t x, y;
        element_words(k0, k1, uint32_t(pair + i), uint32_t(uint64_t(pair + i) >> 32), x, y);
        const uint64_t bits = uint64_t(x) | uint64_t(y) << 32;
        #pragma omp simd
        for (int64_t j = 0; j < 64; j++) block[64 * i + j] = (bits >> j & 1) ? 1.0f : -1.0f;
    }
    return block + (index & 63);
}
"""
_COPIES = """
template <class T> static inline void gather(T* to, const T* from, int64_t stride, int64_t count) {
    if (stride == 1) std::memcpy(to, from, count * sizeof(T));
    else for (int64_t i = 0; i < count; i++) to[i] = from[i * stride];
}
template <class T> static inline void scatter(T* to, const T* from, int64_t stride, int64_t count) {
    if (stride == 1) std::memcpy(to, from, count * sizeof(T));
    else for (int64_t i = 0; i < count; i++) to[i * stride] = from[i];
}
"""
_PER_THREAD = 1 << 17  # path-steps worth a thread


class March:
    """A program of components, compiled to be repeated.

    Args:
        components: what a step does; arrays, numbers that it hands on, and draws called ``draw{n}``.
        arrays: names and dtypes of the arrays' components, in the order of :meth:`__call__`.
        carried: numbers that a step hands to the next, in order.
        noise: "normal", or "rademacher": ±1 by fair coins.
        name: for the log.

    Raises:
        CannotCompile: no compiler, or an operation that has no C++.
    """

    def __init__(
        self, components: Components, arrays: Mapping[str, torch.dtype], carried: Sequence[str], noise: Noise, name: str
    ) -> None:
        self._shared = tuple(components.constants.values())
        begun = time.perf_counter()
        source = _march_source(components, arrays, carried, noise)
        loaded, cached = load_library(source)
        log.info(
            "compiled %s in %.1f s%s", name, time.perf_counter() - begun, " (found in the cache)" if cached else ""
        )
        self._run = loaded.march
        self._run.argtypes = [*[ctypes.c_int64] * 4, *[ctypes.c_void_p] * 5, ctypes.c_uint64, ctypes.c_int]
        self._run.restype = None

    def __call__(
        self, arrays: Sequence[Tensor], carried: Sequence[float], *, steps: int, before: int, key: int, first: int = 0
    ) -> list[float]:
        """March in place; returns the numbers handed on.

        Args:
            arrays: tensors (paths,) on the CPU, columns of wider ones perhaps.
            carried: numbers, in order.
            steps: how many.
            before: steps taken before.
            key: 64 bits of noise.
            first: number of the first path; even.
        """
        paths = arrays[0].numel()
        threads = max(1, min(torch.get_num_threads(), paths * steps // _PER_THREAD, -(-paths // BLOCK)))
        addresses = (ctypes.c_int64 * len(arrays))(*(array.data_ptr() for array in arrays))
        strides = (ctypes.c_int64 * len(arrays))(*(array.stride(0) for array in arrays))
        shared = (ctypes.c_double * max(len(self._shared), 1))(*self._shared)
        numbers = (ctypes.c_double * max(len(carried), 1))(*carried)
        handed = (ctypes.c_double * max(len(carried), 1))()
        self._run(paths, first, steps, before, addresses, strides, shared, numbers, handed, key & (2**64 - 1), threads)
        return list(handed)[: len(carried)]


def _march_source(
    components: Components, arrays: Mapping[str, torch.dtype], carried: Sequence[str], noise: Noise
) -> str:
    program = components.program
    used = {node for step in program.nodes for node in step.all_input_nodes}
    used |= {value for value in program.outputs.values() if not isinstance(value, float | int)}
    names = {name: f"shared[{i}]" for i, name in enumerate(components.constants)}
    names |= {name: name for name in program.inputs if name not in names}
    names |= {name: f"c_{name}" for name in carried}
    writer = SourceWriter(program, names)
    numbers = writer.statements(numbers=True)
    elements = writer.statements(numbers=False)
    handed = [f"n_{name}" for name in carried]
    numbers += [
        f"const double {to} = {writer.value(program.outputs[name], NUMBER)};"
        for to, name in zip(handed, carried, strict=True)
    ]
    buffers, begin, loads, stores, end = [], [], [], [], []
    for column, (name, dtype) in enumerate(arrays.items()):
        kind = TYPES[dtype]
        buffers.append(f"alignas(64) {kind} a_{name}[{BLOCK}] = {{}};")
        there = f"({kind}*)addresses[{column}] + start * strides[{column}]"
        begin.append(f"gather(a_{name}, {there}, strides[{column}], count);")
        end.append(f"scatter({there}, a_{name}, strides[{column}], count);")
        loads.append(f"const {kind} {name} = a_{name}[i];")
        stores.append(f"a_{name}[i] = {writer.value(program.outputs[name], dtype)};")
    draws, keys, fills = [n for n, node in program.inputs.items() if n.startswith("draw") and node in used], [], []
    fill, room = ("draw_normals", 2) if noise == "normal" else ("draw_signs", 128)
    for name in draws:
        number, _, place = name.removeprefix("draw").partition("_")
        keys.append(f"const uint64_t k_{name} = derive(derive(derive(key, uint64_t(s)), {number}), {place});")
        buffers.append(f"alignas(64) float d_{name}[{BLOCK} + {room}];")
        fills.append(f"const float* b_{name} = {fill}(d_{name}, k_{name}, first + start, padded);")
        loads.append(f"const float {name} = b_{name}[i];")
    begin += [f"double c_{name} = carried[{i}];" for i, name in enumerate(carried)]
    main = _MAIN.format(
        block=BLOCK,
        buffers="\n        ".join(buffers),
        begin="\n        ".join(begin),
        numbers="\n            ".join(numbers),
        keys="\n            ".join(keys),
        draws="\n            ".join(fills),
        body="\n                ".join([*loads, *elements, *stores]),
        next=" ".join(f"c_{name} = n_{name};" for name in carried),
        end="\n        ".join(end),
        out=" ".join(f"handed[{i}] = c_{name};" for i, name in enumerate(carried)),
    )
    return VECTORS + PREAMBLE + _COPIES + (library() + _SIGNS if draws else "") + main
