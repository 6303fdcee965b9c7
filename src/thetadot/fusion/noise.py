"""The noise of :mod:`thetadot.core.rng` as C++, traced from the very functions that torch runs."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import torch

from thetadot.core.rng import box_muller, element_words, threefry2x32
from thetadot.fusion.program import trace
from thetadot.fusion.source import TYPES, SourceWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

BLOCK = 1024
"""Elements that are drawn at a time; they stay in the first-level cache."""


def _pair(name: str, inputs: tuple[str, ...], function: Callable[..., tuple[Any, Any]], result: torch.dtype) -> str:
    """A C++ function from words to a pair."""

    def body(given: Mapping[str, Any]) -> dict[str, Any]:
        first, second = function(*(given[word] for word in inputs))
        return {"first": first, "second": second}

    program = trace(body, dict.fromkeys(inputs, torch.int64))
    writer = SourceWriter(program, {word: word for word in inputs})
    statements = "\n    ".join(writer.statements(numbers=False))
    arguments = ", ".join(f"uint32_t {word}" for word in inputs)
    first, second = (writer.value(program.outputs[half], result) for half in ("first", "second"))
    return (
        f"static inline void {name}({arguments}, {TYPES[result]}& first, {TYPES[result]}& second) {{\n"
        f"    {statements}\n    first = {first}; second = {second};\n}}\n"
    )


@cache
def library() -> str:
    """``derive``, and the two ways to fill a block: with normals and with words."""
    words = ("k0", "k1", "c0", "c1")
    functions = (
        _pair("threefry", words, lambda k0, k1, c0, c1: threefry2x32((k0, k1), (c0, c1)), torch.int64)
        + _pair("element_words", words, lambda k0, k1, c0, c1: element_words((k0, k1), (c0, c1)), torch.int64)
        + _pair("box_muller", ("x", "y"), box_muller, torch.float32)
    )
    return functions + _FILL.replace("BLOCK", str(BLOCK))


# An odd first element is the second of its pair: the block then begins one place early.
_FILL = r"""
static inline uint64_t derive(uint64_t key, uint64_t branch) {
    uint32_t low, high;
    threefry(uint32_t(key), uint32_t(key >> 32), uint32_t(branch), uint32_t(branch >> 32), low, high);
    return uint64_t(low) | uint64_t(high) << 32;
}
static inline const float* draw_normals(float* block, uint64_t key, int64_t index, int64_t count) {
    const uint32_t k0 = uint32_t(key), k1 = uint32_t(key >> 32);
    const int64_t pair = index / 2, pairs = (index + count + 1) / 2 - pair;
    float first[BLOCK / 2 + 1], second[BLOCK / 2 + 1];
    #pragma omp simd
    for (int64_t i = 0; i < pairs; i++) {
        uint32_t x, y;
        element_words(k0, k1, uint32_t(pair + i), uint32_t(uint64_t(pair + i) >> 32), x, y);
        box_muller(x, y, first[i], second[i]);
    }
    for (int64_t i = 0; i < pairs; i++) { block[2 * i] = first[i]; block[2 * i + 1] = second[i]; }
    return block + (index & 1);
}
static inline const uint32_t* draw_words(uint32_t* block, uint64_t key, int64_t index, int64_t count) {
    const uint32_t k0 = uint32_t(key), k1 = uint32_t(key >> 32);
    const int64_t pair = index / 2, pairs = (index + count + 1) / 2 - pair;
    uint32_t first[BLOCK / 2 + 1], second[BLOCK / 2 + 1];
    #pragma omp simd
    for (int64_t i = 0; i < pairs; i++)
        element_words(k0, k1, uint32_t(pair + i), uint32_t(uint64_t(pair + i) >> 32), first[i], second[i]);
    for (int64_t i = 0; i < pairs; i++) { block[2 * i] = first[i]; block[2 * i + 1] = second[i]; }
    return block + (index & 1);
}
"""
